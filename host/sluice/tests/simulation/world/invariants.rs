//! What must be so whenever something happens.

use super::super::trace::Event;
use super::{Link, World};

impl World {
    /// The host has taken bytes from the transport.
    pub fn has_read(&self, me: usize) {
        match self.link(me) {
            Link::Held => self.trace.record(me, Event::ReadsHeld),
            Link::Ready if !self.has_room(me) => self.trace.record(me, Event::ReadsHeld),
            Link::Ready => {}
            Link::Never | Link::Parked | Link::Sealing | Link::Gone => {}
        }
    }

    /// The link is about to say something.
    pub fn emits(&self, me: usize, bytes: usize) {
        if !self.has_room(me) {
            let fault = "the host asks for more while too much waits for the client";
            self.trace.fault(me, fault);
        }
        self.lock().connections[me].emitted += bytes;
    }

    /// The ack is said: something must be there to go on with, from where its
    /// bytes end.
    pub(super) fn acknowledges(&self, me: usize, from: Option<u64>, link: Link) {
        let stream = self.stream(me);
        let taken = self.lock().connections[stream].taken;
        let due = (stream != me).then_some(taken);
        if from != due {
            let what = format!("the ack goes on from {from:?}, the upstream has {due:?}");
            self.trace.fault(me, what);
        }
        // A stream that was complete has no upstream any more.
        if link == Link::Never && (stream == me || self.link(stream) != Link::Gone) {
            self.trace
                .fault(me, "the ack came before the upstream was open");
        }
    }

    /// The upstream of a stream was given audio.
    pub fn took(&self, me: usize, bytes: usize) {
        let stream = self.stream(me);
        self.lock().connections[stream].taken += bytes as u64;
    }

    /// A connection let go of a stream that goes on.
    pub fn parks(&self, me: usize) {
        self.trace.record(me, Event::Parks);
        self.set_link(me, Link::Parked);
    }

    /// A connection took a stream over from the one that had it last.
    pub fn takes(&self, from: usize, parked: bool, me: usize) {
        if !parked {
            self.parks(from);
        }
        self.trace.record(me, Event::Takes);
        if self.stream(from) != self.stream(me) {
            self.trace.fault(me, format!("it has the stream of {from}"));
        }
        self.set_link(from, Link::Gone);
        let stream = self.stream(me);
        self.lock().connections[stream].kept = 0;
        self.link_opens(me);
        self.set_link(me, Link::Held);
    }

    /// The link says something that has to be kept for a client that is away.
    pub fn keeps(&self, me: usize, bytes: usize) {
        let stream = self.stream(me);
        let kept = {
            let connection = &mut self.lock().connections[stream];
            connection.kept += bytes;
            connection.kept - bytes
        };
        if kept >= self.schedule.bounds.max_outbound {
            let fault = format!("the host asks for more while it keeps {kept} bytes");
            self.trace.fault(me, fault);
        }
    }

    /// The client cannot be written to any more: the host throws away what waits for it, and reads
    /// what it had sent before.
    pub fn cannot_write(&self, me: usize) {
        let connection = &mut self.lock().connections[me];
        connection.emitted = connection.written;
    }

    /// What waits for the client, answers not counted, is within its bound.
    fn has_room(&self, me: usize) -> bool {
        let connection = &self.lock().connections[me];
        let waits = connection.emitted.saturating_sub(connection.written);
        waits < self.schedule.bounds.max_outbound
    }

    /// What must be so when a Close is written.
    pub(super) fn closes(&self, me: usize, link: Link) {
        // That is right only where the stream waits for its client.
        let mut open = matches!(link, Link::Held | Link::Ready | Link::Parked);
        let claimed = self.lock().connections[me].claimed.clone();
        for key in claimed {
            open |= self.holder(&key) == Some(me);
        }
        if open {
            self.trace.record(me, Event::ClosesOpen);
        }
        if self.schedule.connections.len() == 1 && self.free_places() < self.schedule.places {
            let fault = "the Close came before the connection's place was released";
            self.trace.fault(me, fault);
        }
    }

    /// The link of a connection opens: nobody else may be writing under any
    /// key that it holds.
    pub fn link_opens(&self, me: usize) {
        let (claimed, undone) = {
            let connection = &self.lock().connections[me];
            (connection.claimed.clone(), connection.undone.clone())
        };
        for key in undone.iter().filter(|key| !claimed.contains(key)) {
            if self.holder(key) == Some(me) {
                let fault = format!("{key} stayed claimed by a policy that failed");
                self.trace.fault(me, fault);
            }
        }
        let held: Vec<String> = claimed
            .into_iter()
            .filter(|key| self.holder(key) == Some(me))
            .collect();
        let mut live = self.lock();
        for (other, connection) in live.connections.iter().enumerate() {
            let open = match connection.link {
                Link::Held | Link::Ready | Link::Parked => true,
                Link::Sealing => self.trace.now() < connection.sealing_until,
                Link::Never | Link::Gone => false,
            };
            if other != me && open && connection.exclusive.iter().any(|key| held.contains(key)) {
                self.trace.fault(
                    me,
                    format!("the link opens while that of {other} writes under the same key"),
                );
            }
        }
        live.connections[me].exclusive = held;
    }

    /// The link of a connection is sealed or gone: its claims must not have
    /// been free for anybody until now, unless the host had to give up waiting.
    pub fn link_ends(&self, me: usize) {
        let (exclusive, given_up) = {
            let connection = &self.lock().connections[me];
            let sealing = connection.link == Link::Sealing;
            let given_up = sealing && self.trace.now() >= connection.sealing_until;
            (connection.exclusive.clone(), given_up)
        };
        for key in exclusive {
            if !given_up && self.holder(&key).is_none() {
                self.trace
                    .fault(me, format!("{key} was released before the link ended"));
            }
        }
        self.set_link(me, Link::Gone);
    }
}
