//! Start of a stream: its recording, its connection to the backend, and whether it is held when
//! that is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::dialer::Dialer;
use super::hold::{Absent, HeldStream};
use super::tee::{self, Tee};
use super::{OnLoss, Promise};
use crate::link::{Link, Lost, OpenError, Receipts, StreamInfo, Upstream};
use crate::status::BackendAddress;
use crate::wav::Wav;
use base::metrics::TeeHalf;

impl Upstream for Dialer {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.start(stream).boxed()
    }

    fn descriptors(&self) -> u32 {
        self.backend.descriptors()
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        self.reach().boxed()
    }

    fn backends(&self) -> Vec<BackendAddress> {
        self.backends.addresses()
    }

    fn outage(&self) -> Duration {
        match &self.backend.on_loss {
            OnLoss::Fail => Duration::ZERO,
            OnLoss::Hold(hold) => hold.timeout,
        }
    }
}

impl Dialer {
    async fn start(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        let Some(recordings) = &self.backend.tee else {
            return self.relay(stream, Absent::Refuses).await;
        };
        // The recording is opened first, so that it is complete even if the backend is unavailable.
        let wav = Wav::new(self.data_dir.join(&recordings.folder))
            .laid_out(&recordings.layout)
            .watched(&self.name, self.backend.min_free);
        let recording = match wav.open(stream.clone()).await {
            Ok(recording) => Some(recording),
            // The backend is available, and the client was promised no recording.
            Err(OpenError::Unavailable { public, detail })
                if self.backend.receipts != Promise::Recorded
                    || stream.receipts == Receipts::None =>
            {
                tee::gave_up(&self.name, TeeHalf::Recording, &Lost { public, detail });
                None
            }
            Err(error) => return Err(error),
        };
        let absent = match recording {
            Some(_) => Absent::IsWaitedFor,
            None => Absent::Refuses,
        };
        let destination = Arc::clone(&stream.destination);
        let relay = self.relay(stream, absent).await?;
        let tee = Tee::new(&self.name, recording, relay, &self.backend, destination);
        Ok(Box::new(tee))
    }

    async fn relay(&self, stream: StreamInfo, absent: Absent) -> Result<Box<dyn Link>, OpenError> {
        match &self.backend.on_loss {
            OnLoss::Hold(hold) if stream.greeting.is_some() => {
                let held = HeldStream::open(self.clone(), hold, stream, absent).await?;
                Ok(Box::new(held))
            }
            OnLoss::Hold(_) | OnLoss::Fail => Ok(Box::new(self.dial(&stream, 0).await?)),
        }
    }
}
