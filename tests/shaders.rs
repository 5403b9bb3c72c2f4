//! Every kernel's shader, in every variant, is valid WGSL under WebGPU's default limits and is what
//! the kernel says of it, without a GPU.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use instructblip_web::bench;
use instructblip_web::kernels::{self, Kernel, Shader};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, TypeInner};

/// `maxComputeInvocationsPerWorkgroup`, `maxComputeWorkgroupStorageSize` and
/// `maxStorageBuffersPerShaderStage` of the WebGPU specification.
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16_384;
const STORAGE_BUFFERS: usize = 8;

fn variants() -> impl Iterator<Item = (&'static Kernel, Shader)> {
    kernels::ALL.iter().flat_map(|kernel| (kernel.variants)().into_iter().map(move |s| (kernel, s)))
}

fn what(shader: &Shader) -> String {
    format!("{} {:?} {:?}", shader.name, shader.constants, shader.flags)
}

fn parse(shader: &Shader) -> Module {
    let source = shader.source();
    naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", what(shader), error.emit_to_string(&source)))
}

#[test]
fn every_shader_is_valid_under_default_limits() {
    for shader in variants().map(|(_, shader)| shader).chain(bench::floors::shaders()) {
        let (what, module) = (what(&shader), parse(&shader));
        // No capability beyond core WGSL (no f16 type, no subgroups). unpack2x16float is core,
        // but naga counts it as a capability, since OpenGL and old DirectX lack it.
        let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(&shader.source())));
        let [entry] = &module.entry_points[..] else { panic!("{what}: one entry point") };
        assert_eq!(entry.name, "main", "{what}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!((1..=INVOCATIONS).contains(&invocations), "{what}: {invocations} invocations");

        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let (mut bytes, mut storage, mut bindings) = (0, 0, Vec::new());
        for (handle, variable) in module.global_variables.iter() {
            match variable.space {
                AddressSpace::WorkGroup => bytes += layouter[variable.ty].size,
                AddressSpace::Storage { .. } => storage += 1,
                _ => {}
            }
            if let Some(binding) = &variable.binding {
                bindings.push(binding.binding);
                // An automatic layout drops what is not used, and the bind group then misfits.
                let used = info.get_entry_point(0)[handle];
                assert!(!used.is_empty(), "{what}: {:?} is unused", variable.name);
            }
        }
        // In the order in which the functions first use them.
        bindings.sort_unstable();
        assert!(bytes <= WORKGROUP_BYTES, "{what}: {bytes} bytes of workgroup memory");
        assert!(storage <= STORAGE_BUFFERS, "{what}: {storage} storage buffers");
        assert_eq!(
            bindings,
            (0..bindings.len() as u32).collect::<Vec<_>>(),
            "{what}: bindings from 0 on"
        );
    }
}

/// A launch binds its parameters last, and lays them out as the kernel's `Params` in Rust.
#[test]
fn parameters_are_those_of_the_shader() {
    for (kernel, shader) in variants() {
        let (what, module) = (what(&shader), parse(&shader));
        let variables: Vec<_> = module.global_variables.iter().map(|(_, v)| v).collect();
        let bound = variables.iter().filter(|variable| variable.binding.is_some());
        let params = bound.max_by_key(|v| v.binding.as_ref().map(|b| b.binding)).unwrap();
        assert!(matches!(params.space, AddressSpace::Uniform), "{what}: params come last");
        let TypeInner::Struct { members, .. } = &module.types[params.ty].inner else {
            panic!("{what}: params are a struct")
        };
        let found: Vec<_> = members
            .iter()
            .map(|member| {
                let kind = match module.types[member.ty].inner {
                    TypeInner::Scalar(scalar) if scalar.width == 4 => scalar.kind,
                    _ => panic!("{what}: {:?} is no scalar of 32 bits", member.name),
                };
                let kind = match kind {
                    ScalarKind::Uint => "u32",
                    ScalarKind::Float => "f32",
                    _ => panic!("{what}: {:?} is neither u32 nor f32", member.name),
                };
                (member.name.as_deref().unwrap(), kind)
            })
            .collect();
        assert_eq!(found, kernel.params, "{what}");
    }
}

/// `shaders/` has a file for every kernel and no other; what is shared lies in the folders.
#[test]
fn every_file_is_a_listed_kernel_s() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == "wgsl"));
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let names: BTreeSet<_> = kernels::ALL.iter().map(|kernel| kernel.name.to_owned()).collect();
    assert_eq!(names.len(), kernels::ALL.len(), "a kernel is listed twice");
    assert_eq!(files(""), names);

    let all: Vec<_> = variants().collect();
    for kernel in kernels::ALL {
        let own = fs::read_to_string(root.join(format!("{}.wgsl", kernel.name))).unwrap();
        let mut its = all.iter().filter(|(other, _)| other.name == kernel.name).peekable();
        assert!(its.peek().is_some(), "{} has no variant", kernel.name);
        for (_, shader) in its {
            assert_eq!(shader.name, kernel.name);
            assert!(shader.parts.contains(&own.as_str()), "{} is not its own file", what(shader));
        }
    }
    for folder in ["parts", "weights"] {
        for name in files(folder) {
            let part = fs::read_to_string(root.join(folder).join(format!("{name}.wgsl"))).unwrap();
            let used = all.iter().any(|(_, shader)| shader.parts.contains(&part.as_str()));
            assert!(used, "no kernel uses {folder}/{name}.wgsl");
        }
    }
}

/// A flag that is misspelt would keep lines, or cut them, in silence.
#[test]
fn flags_and_constants_are_those_of_the_files() {
    for kernel in kernels::ALL {
        let variants = (kernel.variants)();
        let mut set = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for shader in &variants {
            let lines = || shader.parts.iter().flat_map(|part| part.lines());
            let flags: BTreeSet<_> =
                lines().filter_map(|line| line.trim().strip_prefix("//#if ")).collect();
            for flag in &shader.flags {
                assert!(flags.contains(flag), "{}: nothing asks for {flag}", what(shader));
            }
            for (constant, _) in &shader.constants {
                let mut code = lines().filter(|line| !line.starts_with("// "));
                assert!(code.any(|line| line.contains(constant)), "{}: {constant}", what(shader));
            }
            set.extend(shader.flags.iter().copied());
            asked.extend(flags);
        }
        assert_eq!(asked, set, "{}: flags that no variant sets", kernel.name);
    }
}
