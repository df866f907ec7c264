//! Ranks within one process.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::Communicator;

/// The only rank.
pub struct Lonely;

impl Communicator for Lonely {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn exchange(&self, partner: usize, _: &[u8], _: &mut [u8]) {
        panic!("there is no rank {partner}")
    }
}

/// A rank that is a thread.
pub struct Local {
    rank: usize,
    /// To and from each rank.
    channels: Vec<(Sender<Message>, RefCell<Receiver<Message>>)>,
}

type Message = Vec<u8>;

/// So many ranks, for a thread each: for tests, and for several devices in one process.
pub fn local(count: usize) -> Vec<Local> {
    let mut ranks: Vec<Local> = (0..count)
        .map(|rank| Local {
            rank,
            channels: Vec::new(),
        })
        .collect();
    let mut receivers: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut senders: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for from in &mut senders {
        for to in &mut receivers {
            let (sender, receiver) = channel();
            from.push(sender);
            to.push(receiver);
        }
    }
    for ((rank, senders), receivers) in ranks.iter_mut().zip(senders).zip(receivers) {
        let receivers = receivers.into_iter().map(RefCell::new);
        rank.channels = senders.into_iter().zip(receivers).collect();
    }
    ranks
}

impl Communicator for Local {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.channels.len()
    }

    fn exchange(&self, partner: usize, send: &[u8], receive: &mut [u8]) {
        let (sender, receiver) = &self.channels[partner];
        let gone = "the other rank is still there";
        sender.send(send.to_vec()).expect(gone);
        let found = receiver.borrow_mut().recv().expect(gone);
        receive.copy_from_slice(&found);
    }
}
