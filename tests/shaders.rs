//! Every shader, in every variant, is valid WGSL under WebGPU's default limits, without a GPU.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use instructblip_web::{bench, kernels};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// `maxComputeInvocationsPerWorkgroup`, `maxComputeWorkgroupStorageSize` and
/// `maxStorageBuffersPerShaderStage` of the WebGPU specification.
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16_384;
const STORAGE_BUFFERS: usize = 8;

#[test]
fn every_shader_is_valid_under_default_limits() {
    let shaders = kernels::all_shaders();
    assert!(shaders.len() > 60);
    for shader in shaders.into_iter().chain(bench::floors::shaders()) {
        let source = shader.source();
        let what = format!("{} {:?} {:?}", shader.name, shader.constants, shader.flags);
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(&source)));
        // No capability beyond core WGSL (no f16 type, no subgroups). unpack2x16float is core,
        // but naga counts it as a capability, since OpenGL and old DirectX lack it.
        let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(&source)));
        let [entry] = &module.entry_points[..] else { panic!("{what}: one entry point") };
        assert_eq!(entry.name, "main", "{what}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!((1..=INVOCATIONS).contains(&invocations), "{what}: {invocations} invocations");

        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let (mut bytes, mut storage, mut bindings) = (0, 0, Vec::new());
        for (handle, variable) in module.global_variables.iter() {
            match variable.space {
                naga::AddressSpace::WorkGroup => bytes += layouter[variable.ty].size,
                naga::AddressSpace::Storage { .. } => storage += 1,
                _ => {}
            }
            if let Some(binding) = &variable.binding {
                bindings.push(binding.binding);
                // An automatic layout drops what is not used, and the bind group then misfits.
                let used = info.get_entry_point(0)[handle];
                assert!(!used.is_empty(), "{what}: {:?} is unused", variable.name);
            }
        }
        assert!(bytes <= WORKGROUP_BYTES, "{what}: {bytes} bytes of workgroup memory");
        assert!(storage <= STORAGE_BUFFERS, "{what}: {storage} storage buffers");
        assert_eq!(
            bindings,
            (0..bindings.len() as u32).collect::<Vec<_>>(),
            "{what}: bindings in order"
        );
    }
}
