//! How many floating-point operations a second a device does at most: measured, because no driver says it.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Gpu, GpuError, Plan};
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;
#[cfg(target_arch = "wasm32")]
use crate::web::milliseconds;

/// Floating-point operations of a thread in a round: 16 multiply-adds in each of twelve chains.
const FLOPS_OF_ROUND: u64 = 2 * 16 * 12;
/// Microseconds that a timed run should take.
const LENGTH: f64 = 10_000.0;
/// The device counts as warm after so many runs in a row of which none was faster than one before. An idle GPU runs at a
/// fraction of its clock at first.
const SETTLED: usize = 4;
/// Runs at most.
const MOST_RUNS: usize = 30;
/// Milliseconds that a measurement by the wall clock lasts at least. Browsers blur theirs, and take a millisecond to say that the
/// device is idle.
const LEAST: f64 = if cfg!(target_arch = "wasm32") {
    10.0
} else {
    2.0
};
/// Runs of a plan in one measurement, at most.
const MOST_REPEATED: usize = 1 << 12;

/// The twin of `Params` in `shaders/probe/multiply_add.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct MultiplyAddParams {
    count: u32,
    rounds: u32,
    factor: f32,
    term: f32,
    y_base: u32,
}

/// What every chain does.
#[derive(Clone, Copy, Debug)]
pub struct Chains {
    /// Rounds of 16 multiply-adds.
    pub rounds: u32,
    /// x = x * factor + term
    pub factor: f32,
    /// See `factor`.
    pub term: f32,
}

/// Records chains of multiply-adds, of one thread for each vec4 of y.
pub fn multiply_add(recording: &mut Recording, label: &str, chains: Chains, y: &Tensor) {
    let params = MultiplyAddParams {
        count: y.texels(),
        rounds: chains.rounds,
        factor: chains.factor,
        term: chains.term,
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::MULTIPLY_ADD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: u64::from(y.texels()) * u64::from(chains.rounds) * FLOPS_OF_ROUND,
    });
}

/// Measures the peak rate of f32 multiply-adds, in floating-point operations a second: the fastest of several runs of about
/// 10 ms. Times come from timestamps on the device, or from the wall clock on a device without them. Takes about a tenth of
/// a second.
///
/// # Errors
/// [`GpuError`] when the device fails meanwhile.
pub async fn f32_rate(gpu: &Gpu) -> Result<f64, GpuError> {
    let threads = gpu.path().backend().probe_threads;
    let y = Tensor::new(gpu, "probe", &[threads, 4])?;
    let plan = |rounds: u32| {
        let mut recording = Recording::new(gpu.path());
        let chains = Chains {
            rounds,
            // Numbers that keep changing and stay near 1.
            factor: -0.999,
            term: 1.5,
        };
        multiply_add(&mut recording, "probe", chains, &y);
        gpu.plan(recording)
    };
    let mut rounds = 1;
    // The first run may include compiling.
    plan(rounds)?.run(gpu, &[]);
    gpu.finish().await?;
    let mut made = plan(rounds)?;
    loop {
        let took = microseconds(gpu, &made).await?.max(1.0);
        if took >= LENGTH / 2.0 {
            break;
        }
        let times = (LENGTH / took).clamp(2.0, 16.0);
        rounds = (f64::from(rounds) * times).ceil() as u32;
        made = plan(rounds)?;
    }
    let (mut fastest, mut since) = (f64::INFINITY, 0);
    for _ in 0..MOST_RUNS {
        let took = microseconds(gpu, &made).await?;
        since = if took < 0.99 * fastest { 0 } else { since + 1 };
        fastest = fastest.min(took);
        if since == SETTLED {
            break;
        }
    }
    let flops: u64 = made.rows().iter().map(|row| row.flops).sum();
    Ok(1e6 * flops as f64 / fastest)
}

/// Time of one run of a plan of few kernels.
///
/// # Errors
/// [`GpuError`] when the device fails meanwhile.
pub(crate) async fn microseconds(gpu: &Gpu, plan: &Plan) -> Result<f64, GpuError> {
    // Browsers round timestamps to a tenth of a millisecond.
    if gpu.has_timestamps() && cfg!(not(target_arch = "wasm32")) {
        let timings = plan.profile(gpu, &[]).await?;
        return Ok(timings.iter().map(|t| t.microseconds).sum());
    }
    let mut runs = 1;
    loop {
        let started = milliseconds();
        for _ in 0..runs {
            plan.run(gpu, &[]);
        }
        gpu.finish().await?;
        let took = milliseconds() - started;
        if took >= LEAST || runs >= MOST_REPEATED {
            return Ok(1e3 * took / runs as f64);
        }
        runs *= 2;
    }
}

/// Milliseconds by a clock that only goes forward.
#[cfg(not(target_arch = "wasm32"))]
fn milliseconds() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    1e3 * START.elapsed().as_secs_f64()
}
