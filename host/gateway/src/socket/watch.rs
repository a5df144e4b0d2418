//! Metering of a stream for the policies that watch it: at the end of each window they are asked
//! whether the stream may go on.
//!
//! The stream goes on while the policies decide. Messages that arrive meanwhile belong to the next
//! window. A stream of a route without such policies has no watch, and no cost for it. The route's
//! limits bound what a watch keeps.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::cause::Cause;
use super::connection::refusal;
use super::connection_log::ConnectionLog;
use super::open_socket::Parts;
use crate::routes::Route;
use base::limits::Metering;
use policy::window::{Kind, Window};
use policy::{ChainRefusal, Question, Record};
use session::registry::{Registry, Session};
use wire::frame::Message;

/// Pending answer of the policies about a window.
type Thinking = BoxFuture<'static, (Result<(), ChainRefusal>, Vec<Record>)>;

/// Meter of one stream, which asks the policies at the end of each window.
pub struct Watch {
    route: Arc<Route>,
    session: Arc<Session>,
    registry: Registry,
    /// The window that is open, since `began`.
    window: Window,
    began: Instant,
    /// Since when the host has not read, if it does not.
    held_since: Option<Instant>,
    payload_bytes: usize,
    closes: Pin<Box<Sleep>>,
    /// The policies think about the window before.
    thinking: Option<Thinking>,
}

impl Watch {
    /// A watch over a stream that begins, if anybody wants to know.
    pub(super) fn begin(socket: &Parts, route: &Arc<Route>) -> Option<Box<Self>> {
        if route.on_frames.is_empty() {
            return None;
        }
        let began = Instant::now();
        Some(Box::new(Self {
            route: Arc::clone(route),
            session: Arc::clone(&socket.session),
            registry: socket.gateway.registry.clone(),
            window: Window::default(),
            began,
            held_since: Some(began),
            payload_bytes: 0,
            closes: Box::pin(sleep_until(began + route.metering.window)),
            thinking: None,
        }))
    }

    /// A message came. Those that control the connection are no part of the
    /// stream.
    pub fn saw(&mut self, message: &Message) {
        let (kind, payload) = match message {
            Message::Text(payload) => (Kind::Text, payload),
            Message::Binary(payload) => (Kind::Binary, payload),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        let Metering {
            frames,
            payload: room,
            ..
        } = self.route.metering;
        self.window
            .saw(kind, payload.len(), self.began.elapsed(), frames);
        if room > 0 {
            self.keep(payload, frames, room);
        }
    }

    /// Copies the payload: what it is a part of may be much larger.
    fn keep(&mut self, payload: &Bytes, frames: usize, room: usize) {
        self.payload_bytes += payload.len();
        self.window
            .payloads
            .push_back(Bytes::copy_from_slice(payload));
        while self.payload_bytes > room || self.window.payloads.len() > frames {
            let Some(oldest) = self.window.payloads.pop_front() else {
                break;
            };
            self.payload_bytes -= oldest.len();
        }
    }

    /// Bytes of payload that are kept.
    pub fn held(&self) -> usize {
        self.payload_bytes
    }

    /// The client pauses, or goes on.
    pub fn paused(&mut self, paused: bool) {
        self.window.paused = paused;
    }

    /// The host does not read from now on.
    pub fn holds(&mut self) {
        self.held_since.get_or_insert_with(Instant::now);
    }

    /// The host reads again.
    pub fn reads(&mut self) {
        if let Some(since) = self.held_since.take() {
            self.window.held += since.max(self.began).elapsed();
        }
    }

    /// Asks the policies when a window ends. Ready when one of them refuses the stream.
    pub fn poll(&mut self, cx: &mut Context<'_>, log: &mut ConnectionLog) -> Poll<Cause> {
        loop {
            if let Some(thinking) = &mut self.thinking {
                let (answer, records) = ready!(thinking.poll_unpin(cx));
                self.thinking = None;
                let last = records.last().map(|record| Arc::clone(&record.policy));
                log.watched(records);
                if let Err(refused) = answer {
                    return Poll::Ready(refusal(refused, last));
                }
            }
            ready!(self.closes.as_mut().poll(cx));
            self.thinking = Some(self.ask());
        }
    }

    /// Closes the window, and opens the next.
    fn ask(&mut self) -> Thinking {
        let now = Instant::now();
        let held = self.held_since.is_some();
        self.reads();
        let next = Window {
            index: self.window.index + 1,
            paused: self.window.paused,
            ..Window::default()
        };
        let mut window = std::mem::replace(&mut self.window, next);
        window.length = now - self.began;
        self.began = now;
        self.payload_bytes = 0;
        if held {
            self.holds();
        }
        self.closes.as_mut().reset(now + self.route.metering.window);
        let (route, session) = (Arc::clone(&self.route), Arc::clone(&self.session));
        let registry = self.registry.clone();
        async move {
            let mut records = Vec::new();
            let question = Question::Frames(Arc::new(window));
            let answer = route
                .on_frames
                .ask(&session, &registry, &question, &mut records)
                .await;
            (answer, records)
        }
        .boxed()
    }
}
