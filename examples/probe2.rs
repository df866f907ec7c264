use gtc::gpu::*; 
fn main() { pollster::block_on(async {
  let a: Vec<String> = std::env::args().collect();
  let gpu = Gpu::open(&GpuOptions{adapter: None, path: match a.get(1).map(|s|s.as_str()) {Some("gpu")=>Some(Path::Gpu),Some("sampled")=>Some(Path::CpuSampled),Some("storage")=>Some(Path::CpuStorage),_=>None}, checked: a.len()>2}).await.unwrap();
  println!("{} {:?}", gpu.name(), gpu.path());
  let t=std::time::Instant::now();
  let mut bad=0;
  for c in gtc::verify::cases() { let t=std::time::Instant::now(); let r=gtc::verify::run_case(&gpu,&c).await.unwrap(); if r.failure.is_some() {bad+=1; println!("{} [{}] {:?} max {:.3}", r.kernel, r.case, r.failure, r.max_error);} if t.elapsed().as_secs_f64()>0.3 {println!("  {} {} {:.2}s", c.kernel.name, c.name, t.elapsed().as_secs_f64())} }
  println!("bad {bad} {:?}", t.elapsed());
  let g: Vec<gtc::verify::GoldenLayer> = serde_json::from_str(&std::fs::read_to_string("../shared/golden/quantiser.json").unwrap()).unwrap();
  let r = gtc::verify::check_golden(&gpu,&g).await.unwrap(); println!("{:?}", r);
 })}
