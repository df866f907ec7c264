// How threads share sums over ranges of rows, which are wanted for every texel of channels. With TOGETHER, as GPUs want
// it, the 64 threads of a workgroup have one texel: each adds some of its ranges, and then pairs of threads add what they
// have. Otherwise each thread has a texel of its own and adds its ranges in order.

override TOGETHER: bool = false;

struct Share {
    channel: u32, // texel of channels
    first: u32, // range
    end: u32, // range
    writes: bool, // whether this thread writes the result
}

fn share_of(thread: u32, lane: u32) -> Share {
    let channel = select(thread, thread / 64u, TOGETHER);
    // Threads beyond the last texel run too, with no range: for a barrier all have to be there.
    let is_there = channel < params.channels;
    let splits = select(0u, params.splits, is_there);
    if TOGETHER {
        let each = (splits + 63u) / 64u;
        let first = min(lane * each, splits);
        return Share(channel, first, min(first + each, splits), is_there && lane == 0u);
    }
    return Share(channel, 0u, splits, is_there);
}
