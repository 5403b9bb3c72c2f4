use burn::tensor::{Device, Tensor, TensorData};
use instructblip_web::kernels::{Shader, launch::{Launch, Arg, Work}, words_tensor};
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(") ").next().unwrap().split(' ').collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) * 10.0
}
#[test]
#[ignore]
fn bench() {
    let device: Device = Device::wgpu_options().init().unwrap();
    let cases: serde_json::Value = serde_json::from_str(&std::fs::read_to_string("/work/scratch/M/cases.json").unwrap()).unwrap();
    for c in cases.as_array().unwrap() {
        let code: &'static str = Box::leak(c["code"].as_str().unwrap().to_string().into_boxed_str());
        let bufs = c["buffers"].as_array().unwrap();
        let n_of = |b: &serde_json::Value| b["n"].as_f64().unwrap() as usize;
        let mut seed = 12345u32;
        let mut inputs = Vec::new();
        for b in &bufs[..bufs.len() - 1] {
            let n = n_of(b);
            let mut next = || { seed = seed.wrapping_mul(1664525).wrapping_add(1013904223); seed };
            match b["kind"].as_str().unwrap() {
                "f32" => { let v: Vec<f32> = (0..n).map(|_| (next() >> 8) as f32 / 16777216.0 - 0.5).collect(); inputs.push(Arg::Float(Tensor::<1>::from_data(TensorData::new(v, [n]), &device))); }
                "bits" => inputs.push(Arg::Words(words_tensor((0..n).map(|_| { let s = next(); s ^ (s >> 13) }).collect(), &device))),
                _ => inputs.push(Arg::Words(words_tensor((0..n).map(|_| { let s = next(); 0x2c002c00 + ((s >> 9) & 0x01ff01ff) }).collect(), &device))),
            }
        }
        let out = n_of(&bufs[bufs.len() - 1]);
        let params: Vec<u32> = c["params"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap() as u32).collect();
        let g: Vec<u32> = c["grid"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap() as u32).collect();
        let go = || {
            let t = Launch { shader: Shader { name: "scratch", parts: vec![code], constants: vec![], flags: vec![] }, inputs: inputs.clone(), output: out, params: &params, workgroup: c["workgroup"].as_f64().unwrap() as u32, grid: [g[0], g[1], g[2]], work: Work::default() }.run(|_| vec![]);
            let d = t.into_data(); assert_eq!(d.as_slice::<f32>().unwrap().len(), out); std::hint::black_box(d.as_slice::<f32>().unwrap()[out - 1]);
        };
        let t = std::time::Instant::now(); go(); let first = t.elapsed().as_secs_f64();
        let (mut best, mut n) = (f64::MAX, 0.0); let c0 = cpu(); let all = std::time::Instant::now();
        while n < 3.0 || all.elapsed().as_secs_f64() < 0.6 { let t = std::time::Instant::now(); go(); best = best.min(t.elapsed().as_secs_f64()); n += 1.0; }
        let used = (cpu() - c0) / n; let fl = c["flops"].as_f64().unwrap();
        println!("{:44} cpu {:7.1} ms = {:5.2} GFLOP/s on 2; best {:7.1} ms {:5.2} GFLOP/s first {:.2} s", c["name"].as_str().unwrap(), used, 2.0 * fl / used / 1e6, best * 1e3, fl / best / 1e9, first);
    }
}
