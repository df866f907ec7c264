use gtc::gpu::*; use gtc::layer::*; use gtc::tensor::Tensor;
fn cpu() -> f64 { let s=std::fs::read_to_string("/proc/self/stat").unwrap(); let f:Vec<&str>=s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap()+f[12].parse::<f64>().unwrap())/100.0 }
fn main() { pollster::block_on(async {
  let gpu = Gpu::open(&GpuOptions{adapter: std::env::args().nth(1), path: match std::env::args().nth(2).as_deref() {Some("gpu")=>Some(Path::Gpu),Some("sampled")=>Some(Path::CpuSampled),Some("storage")=>Some(Path::CpuStorage),_=>None}, checked:false}).await.unwrap();
  println!("{} {:?}", gpu.name(), gpu.path());
  let d=|b,i,o| ConvShape::dense(b,i,o);
  let c=|b,h,i,o,k,p| ConvShape{batch:b,input_height:h,input_width:h,input_channels:i,output_channels:o,kernel_height:k,kernel_width:k,stride:1,padding:p};
  for (name,s) in [("mm512",d(512,512,512)),("conv1",d(64*576,25,20)),("conv2",c(64,12,20,50,5,0)),("fc1",d(64,832,500)),("vgg32",c(8,32,64,64,3,1)),("vgg16",c(8,16,128,128,3,1)),("vgg4",c(32,4,512,512,3,1))] {
   for which in 0..3 {
    let x=Tensor::new(&gpu,"x",&s.x()).unwrap(); let w=Tensor::new(&gpu,"w",&s.w()).unwrap(); let b=Tensor::new(&gpu,"b",&[s.w()[0]]).unwrap(); let y=Tensor::new(&gpu,"y",&s.y()).unwrap();
    x.write(&gpu,&vec![0.5;x.len()]); w.write(&gpu,&vec![0.25;w.len()]);
    let mut p=PlanBuilder::new(&gpu);
    match which {0=>conv_forward(&mut p,"f",&s,[&x,&w,&b],true,&y), 1=>conv_backward_input(&mut p,"bi",&s,[&y,&w],&x), _=>{let n=s.weight_splits(gpu.path()); let mut sh=vec![n]; sh.extend(s.w()); let part=Tensor::new(&gpu,"p",&sh).unwrap(); conv_backward_weight(&mut p,"bw",&s,[&y,&x],n,&part)}}
    let plan=p.finish().unwrap();
    let t=std::time::Instant::now(); plan.run(&gpu,&[]); gpu.wait(); gpu.check().unwrap(); let first=t.elapsed().as_secs_f64();
    let reps=((1.0e9/ s.flops() as f64).ceil() as usize).clamp(1,20);
    let t=std::time::Instant::now(); let c0=cpu();
    for _ in 0..reps {plan.run(&gpu,&[]);} gpu.wait();
    let wall=t.elapsed().as_secs_f64(); let cp=cpu()-c0;
    println!("{name:6} {} first {first:.2}s  {:.2} GFLOP/s wall  {:.2} per core-second ({:.1} ms)", ["fwd","d_x","d_w"][which], s.flops() as f64*reps as f64/wall/1e9, s.flops() as f64*reps as f64/cp/1e9, wall/reps as f64*1e3);
   }
  }
 })}
