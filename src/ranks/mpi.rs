//! Ranks that are processes of an MPI job.

use std::time::{Duration, Instant};

use mpi::environment::Universe;
use mpi::request::{Request, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination, Source};

use super::Communicator;

/// All processes of the job that this one is of.
pub struct World {
    world: SimpleCommunicator,
    /// Leaves the job when it is dropped.
    _universe: Universe,
}

/// Bytes above which two ranks first wait for each other, and then carry on at full speed.
const LARGE: usize = 1 << 12;
/// Bytes of a message, below what MPI counts.
const MOST: usize = 1 << 30;
/// How long a rank polls for a message that another rank must compute first, before it sleeps between two polls.
const WAITING: Duration = Duration::from_micros(50);
/// The same for a message whose transfer has begun.
const CARRYING: Duration = Duration::from_millis(2);
/// The longest sleep between two polls before the other rank is ready; it grows to this, because a step takes longer by far.
const WAITING_ASLEEP: Duration = Duration::from_micros(200);
/// The longest sleep between two polls of a transfer: short, because MPI moves data only while it is polled.
const CARRYING_ASLEEP: Duration = Duration::from_micros(10);

impl World {
    /// Joins the job; once in a process. If this process panics from now on, on whatever thread, the job ends, for the others
    /// would wait for it for ever. Nothing if there is no MPI that lets threads be.
    ///
    /// No other thread may read the environment meanwhile, for MPI and this change it.
    pub fn join() -> Option<Self> {
        // Open MPI over TCP asks the receiver for every large part of a message before it sends it, and the question waits
        // behind what already travels. Sending at once took 0.69 of the time for a sum of 1 MiB at 200 Mbit/s.
        const TCP_FLAGS: &str = "OMPI_MCA_btl_tcp_flags";
        const SEND: &str = "1";
        if std::env::var_os(TCP_FLAGS).is_none() {
            // SAFETY: as said above.
            unsafe { std::env::set_var(TCP_FLAGS, SEND) };
        }
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled)?;
        let world = universe.world();
        let rank = world.rank();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("rank {rank} failed:");
            before(panic);
            SimpleCommunicator::world().abort(101);
        }));
        Some(Self {
            world,
            _universe: universe,
        })
    }

    /// Ends all ranks at once with this exit code.
    pub fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }
}

impl Communicator for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn count(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&self, partner: usize, send: &[u8], receive: &mut [u8]) {
        let partner = self.world.process_at_rank(partner as i32);
        let message = |send: &[u8], receive: &mut [u8], pace: (Duration, Duration)| {
            scope(|scope| {
                let received = partner.immediate_receive_into(scope, receive);
                let sent = partner.immediate_send(scope, send);
                finish(received, pace);
                finish(sent, pace);
            });
        };
        let large = send.len().max(receive.len()) > LARGE;
        if large {
            // The other one may have much to do yet.
            message(&[0], &mut [0], (WAITING, WAITING_ASLEEP));
        }
        if send.is_empty() && receive.is_empty() {
            return;
        }
        let pace = match large {
            true => (CARRYING, CARRYING_ASLEEP),
            false => (WAITING, WAITING_ASLEEP),
        };
        let (mut sends, mut receives) = (send.chunks(MOST), receive.chunks_mut(MOST));
        loop {
            match (sends.next(), receives.next()) {
                (None, None) => break,
                (send, receive) => {
                    let nothing: &mut [u8] = &mut [];
                    message(send.unwrap_or(&[]), receive.unwrap_or(nothing), pace);
                }
            }
        }
    }
}

/// Waits for the end of a request. MPI's own wait keeps a core busy, which other ranks and drivers of the CPU may need; so
/// does asking without pause, but for a short time it is faster.
fn finish<'a, D: ?Sized, S: mpi::request::Scope<'a>>(
    request: Request<'a, D, S>,
    (awake, asleep): (Duration, Duration),
) {
    let start = Instant::now();
    let mut request = request;
    loop {
        request = match request.test() {
            Ok(_) => return,
            Err(request) => request,
        };
        match start.elapsed() > awake {
            true => std::thread::sleep((start.elapsed() / 8).min(asleep)),
            false => std::hint::spin_loop(),
        }
    }
}
