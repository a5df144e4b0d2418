//! What a policy is told of a stream: its windows, their payload, its ending.

use std::time::Duration;

use wasmtime::component::Resource;

use super::super::bindings::sluice::policy as wit;
use super::super::convert;
use super::super::state::State;
use super::super::world::Seen;
use crate::bindings::{EndingHandle, WindowHandle};

impl wit::frames::Host for State {}

impl wit::frames::HostWindow for State {
    fn index(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<u64> {
        Ok(self.window()?.index)
    }

    fn length_ms(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<u32> {
        Ok(millis(self.window()?.length))
    }

    fn held_ms(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<u32> {
        Ok(millis(self.window()?.held))
    }

    fn paused(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<bool> {
        Ok(self.window()?.paused)
    }

    fn count(&mut self, _: Resource<WindowHandle>, of: wit::frames::Kind) -> wasmtime::Result<u64> {
        Ok(self.window()?.total(convert::kind(of)).count)
    }

    fn bytes(&mut self, _: Resource<WindowHandle>, of: wit::frames::Kind) -> wasmtime::Result<u64> {
        Ok(self.window()?.total(convert::kind(of)).bytes)
    }

    fn kinds(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<Vec<wit::frames::Kind>> {
        let frames = &self.window()?.frames;
        Ok(frames.iter().map(|it| convert::wit_kind(it.kind)).collect())
    }

    fn sizes(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.window()?.frames.iter().map(|it| it.size).collect())
    }

    fn times_us(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.window()?.frames.iter().map(|it| it.at_us).collect())
    }

    fn drop(&mut self, _: Resource<WindowHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wit::payload::Host for State {
    fn get(&mut self, _: Resource<WindowHandle>, place: u32) -> wasmtime::Result<Option<Vec<u8>>> {
        let place = usize::try_from(place)?;
        let window = self.window()?;
        if place < window.frames.len() {
            self.world.looked_at(Seen::Payload);
        }
        let payload = window.payload(place).map(|it| it.to_vec());
        self.sees(payload.as_ref().map_or(0, Vec::len));
        Ok(payload)
    }
}

impl wit::endings::Host for State {}

impl wit::endings::HostEnding for State {
    fn cause(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<String> {
        Ok(self.ending()?.cause.to_string())
    }

    fn close_code(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<u16> {
        Ok(self.ending()?.close_code)
    }

    fn closed_by(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<String> {
        Ok(self.ending()?.closed_by.word().to_owned())
    }

    fn streamed(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<bool> {
        Ok(self.ending()?.streamed)
    }

    fn lasted_ms(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<u64> {
        let lasted = self.ending()?.lasted.as_millis();
        Ok(u64::try_from(lasted).unwrap_or(u64::MAX))
    }

    fn received_bytes(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<u64> {
        Ok(self.ending()?.received_bytes)
    }

    fn sent_bytes(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<u64> {
        Ok(self.ending()?.sent_bytes)
    }

    fn drop(&mut self, _: Resource<EndingHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
