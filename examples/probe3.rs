use gtc::gpu::*; use gtc::train::*; use gtc::model::*;
fn main() { pollster::block_on(async {
  let a: Vec<String> = std::env::args().collect();
  let get=|k:&str,d:f64| a.iter().find_map(|s| s.strip_prefix(&format!("{k}="))).map_or(d,|v| v.parse().unwrap());
  let gpu = Gpu::open(&GpuOptions::default()).await.unwrap();
  let data = match a.iter().find_map(|s| s.strip_prefix("data=")) { Some(d)=> gtc::data::read_folder(d.as_ref()).unwrap(), None=> gtc::data::embedded_digits().unwrap()};
  let t0=std::time::Instant::now();
  let o=TrainOptions{epochs:get("ep",5.) as u32,batch_size:get("bs",64.) as usize,learning_rate:get("lr",1e-3),quantiser_rate:get("qr",4.),lambda_bits:get("lb",1e-2),bits_ramp:get("ramp",0.5),lambda_distill:get("ld",1.),lambda_l2:get("l2",0.),seed:get("seed",1.) as u64,objective: match get("obj",0.) as u32 {0=>Objective::Gtc,1=>Objective::Direct,_=>Objective::Float},..Default::default()};
  let mut t=Trainer::new(&gpu, Model::by_name(if get("small",0.)>0. {"lenet-small"} else {"lenet5"}).unwrap(), data.train.count(), o.clone()).unwrap();
  t.train_step(&data.train); t.progress().await.unwrap(); eprintln!("first step after {:?}", t0.elapsed());
  if get("profile",0.)>0. { for _ in 0..3 {t.train_step(&data.train); t.progress().await.unwrap();} 
    let p=t.profile_step(&data.train).await.unwrap(); let mut m=std::collections::BTreeMap::<String,(f64,u64)>::new(); for x in &p { let e=m.entry(format!("{} {}",x.kernel,x.label)).or_default(); e.0+=x.microseconds; e.1+=x.flops;} let mut v:Vec<_>=m.into_iter().collect(); v.sort_by(|a,b| b.1.0.total_cmp(&a.1.0)); for (k,(us,f)) in v.iter().take(45) {println!("{k:40} {us:9.0} us {:.2} GFLOP/s", *f as f64/us/1e3);} println!("total {:.1} ms", p.iter().map(|x|x.microseconds).sum::<f64>()/1e3); return; }
  for e in 0..o.epochs { let t1=std::time::Instant::now(); while t.steps_done() < t.steps_per_epoch()*(e as u64+1) { t.train_step(&data.train); if t.steps_done()%4==0 {t.progress().await.unwrap();} }
    let tr=t.progress().await.unwrap(); let el=t1.elapsed().as_secs_f64(); t.reset_totals(); let (p,_)=t.test(&data.test,|_|()).await.unwrap(); let w=t.snapshot().await.unwrap().weights;
    println!("{} ep{} train {:.3}/{:.3} HP {:.2} LP {:.2} r {:?} bits {:?} mean {:.2} s {:?} c {:?} {:.0} img/s", a[1..].join(" "), e+1, tr.hp.mean_loss(), tr.lp.mean_loss(), p.hp.accuracy()*100., p.lp.accuracy()*100., p.layers.iter().map(|l|l.range).collect::<Vec<_>>(), p.layers.iter().map(|l|l.bits).collect::<Vec<_>>(), p.mean_bits(), t.parameters().layers.iter().map(|l|(l.quantiser_values(&w)[1]*100.).round()/100.).collect::<Vec<_>>(), t.parameters().layers.iter().map(|l|(l.quantiser_values(&w)[0]*10.).round()/10.).collect::<Vec<_>>(), (t.steps_per_epoch() as usize*o.batch_size) as f64/el); }
 })}
