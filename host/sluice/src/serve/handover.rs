//! Hand-over of a running gateway to a new process, without a moment in which a client is refused.
//!
//! The new process (`sluice serve --take-over`) loads its configuration, compiles its policies, and
//! asks the old one by a socket in the data folder:
//!
//! 1. It gets the listening sockets, and listens on whatever else it needs. If it fails by then, the
//!    old one goes on as if nothing had happened.
//! 2. It says that it is ready. The old one accepts no more, ends the streams that can go on in the
//!    new process, and lets go of the data folder. Whoever connects meanwhile waits in the backlog.
//! 3. The old one says so, and the new one begins. All other streams go on in the old process, for
//!    `drain_timeout` at the most.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::lock::DataLock;
use gateway::server::ACCEPT_PAUSE;

/// Name of the socket in the data folder.
const NAME: &str = "handover.sock";
/// What the new process says first. Another program that connects changes nothing.
const REQUEST: &[u8] = b"sluice take-over 1";
/// Time in which it says so.
const PATIENCE: Duration = Duration::from_secs(1);
/// What comes with the sockets. A process that says something else is of another version.
const GREETING: &[u8] = b"sluice hand-over 1";
/// What the new process says when it has all sockets.
const READY: &[u8] = b"ready";
/// Time in which it says so.
const PREPARING: Duration = Duration::from_secs(30);
/// What the old process says when it has let go of the data folder.
const GO: &[u8] = b"go";
/// Maximum number of listening sockets.
const MAX_SOCKETS: usize = 64;
/// Maximum time that the new process waits for the old one.
const LONGEST: Duration = Duration::from_secs(120);

/// Offer to hand over, until this is dropped.
#[derive(Debug)]
pub(super) struct Offer {
    socket: Option<UnixListener>,
    path: PathBuf,
    /// The listening sockets.
    shared: Vec<OwnedFd>,
}

/// A process that is ready to take over.
#[derive(Debug)]
pub(super) struct Successor(UnixStream);

impl Offer {
    /// Offers to hand over to a process of the same user, if the data folder is locked. Without such a
    /// socket the gateway serves all the same.
    pub(super) fn begin(data_dir: &Path, lock: &DataLock, shared: Vec<OwnedFd>) -> Self {
        let path = data_dir.join(NAME);
        let listen = || {
            let socket = listen(&path).inspect_err(|error| {
                let socket = path.display();
                tracing::warn!(%socket, %error, "nobody can take over from this gateway");
            });
            socket.ok()
        };
        let socket = lock.is_held().then(listen).flatten();
        Self {
            socket,
            path,
            shared,
        }
    }

    /// Waits for a process that is ready to take over.
    pub(super) async fn successor(&self) -> Successor {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        loop {
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the hand-over socket could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.prepare(stream).await {
                Ok(successor) => return successor,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "a process that connected to take over does not");
                }
            }
        }
    }

    /// Gives the sockets to a process that asks, and waits until it is ready.
    async fn prepare(&self, mut stream: UnixStream) -> anyhow::Result<Successor> {
        ensure!(is_same_user(&stream), "it is another user's");
        hears(&mut stream, REQUEST, PATIENCE)
            .await
            .context("its request")?;
        give(&stream, &self.shared).await.context("the sockets")?;
        let ready = hears(&mut stream, READY, PREPARING).await;
        ready.context("it did not become ready")?;
        Ok(Successor(stream))
    }
}

/// Waits until the other side has said this.
async fn hears(stream: &mut UnixStream, word: &[u8], longest: Duration) -> anyhow::Result<()> {
    let mut heard = vec![0; word.len()];
    let hearing = timeout(longest, stream.read_exact(&mut heard)).await;
    hearing.with_context(|| format!("nothing was said within {longest:?}"))??;
    ensure!(heard == word, "something else was said");
    Ok(())
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.socket.is_some() {
            // Where it is gone already, that is well.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // Of a process that was killed: whoever has the lock is alone.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(socket)
}

fn is_same_user(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|uid| uid == geteuid().as_raw() || uid == 0)
}

impl Successor {
    /// Tells the other process to begin: this one has let go of the data folder.
    ///
    /// # Errors
    /// If the other process is gone.
    pub(super) async fn go(mut self) -> io::Result<()> {
        self.0.write_all(GO).await
    }
}

/// Gives copies of the sockets away.
async fn give(stream: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other(format!("more than {MAX_SOCKETS} sockets")));
        }
        let greeting = [IoSlice::new(GREETING)];
        Ok(sendmsg(
            stream,
            &greeting,
            &mut control,
            SendFlags::NOSIGNAL,
        )?)
    };
    stream.async_io(Interest::WRITABLE, send).await.map(drop)
}

/// The gateway that serves from a data folder, if there is one.
#[derive(Debug)]
pub(super) struct Predecessor(Option<UnixStream>);

/// Asks the gateway that serves from this folder for its listening sockets.
///
/// # Errors
/// If the other gateway does not answer.
pub(super) async fn ask(data_dir: &Path) -> anyhow::Result<(Predecessor, Vec<TcpListener>)> {
    let path = data_dir.join(NAME);
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::info!(socket = %path.display(), %error, "there is no gateway to take over from");
            return Ok((Predecessor(None), Vec::new()));
        }
    };
    tracing::info!("taking over from the gateway that runs");
    let answer = async {
        stream.write_all(REQUEST).await?;
        stream
            .async_io(Interest::READABLE, || receive(&stream))
            .await
    };
    let answer = timeout(LONGEST, answer).await;
    let answer = answer.with_context(|| format!("no answer within {LONGEST:?}"));
    let (greeting, sockets) = answer
        .and_then(|answer| Ok(answer?))
        .context("the gateway that runs does not hand over")?;
    ensure!(
        greeting == GREETING,
        "the gateway that runs does not hand over, or is of another version"
    );
    Ok((Predecessor(Some(stream)), sockets))
}

impl Predecessor {
    /// Says that this process is ready, and waits until the other one has let go of the data folder.
    ///
    /// # Errors
    /// If it does not.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        let Some(mut stream) = self.0 else {
            return Ok(());
        };
        let said = stream.write_all(READY).await;
        said.context("the gateway that runs is gone")?;
        let left = hears(&mut stream, GO, LONGEST).await;
        left.context("the gateway that ran did not let go of the data folder")
    }
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<TcpListener>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut greeting = [0; GREETING.len()];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut greeting)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = rights.flatten().map(TcpListener::from).collect();
    Ok((greeting[..received.bytes].to_vec(), sockets))
}
