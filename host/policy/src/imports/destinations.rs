//! Answers of services.

use wasmtime::component::Resource;

use crate::bindings::sluice::policy::destinations as wit;
use crate::convert;
use crate::destinations::Answer;
use crate::state::State;
use crate::world::Seen;

impl wit::Host for State {
    fn get(&mut self, place: u32) -> wasmtime::Result<Result<Resource<Answer>, wit::Error>> {
        let Some(answers) = &self.answers else {
            return Err(wasmtime::Error::msg(
                "there are no answers in this call: the gateway calls `prepare` before on-connect and \
                 on-handshake, if the policy exports it",
            ));
        };
        let answered = usize::try_from(place)
            .ok()
            .and_then(|place| answers.get(place));
        let Some(answered) = answered else {
            let count = answers.len();
            return Err(wasmtime::Error::msg(format!(
                "there is no answer {place}: `prepare` made {count} requests, which are counted from 0"
            )));
        };
        match answered.answer.clone() {
            Ok(answer) => Ok(Ok(self.give(answer)?)),
            Err(error) => Ok(Err(convert::answer_error(error))),
        }
    }
}

impl wit::HostAnswer for State {
    fn status(&mut self, answer: Resource<Answer>) -> wasmtime::Result<u16> {
        Ok(self.resources.get(&answer)?.status)
    }

    fn body(&mut self, answer: Resource<Answer>) -> wasmtime::Result<String> {
        let body = self.resources.get(&answer)?.body.to_string();
        self.world.looked_at(Seen::Text(&body));
        Ok(body)
    }

    fn age_ms(&mut self, answer: Resource<Answer>) -> wasmtime::Result<u64> {
        Ok(self.resources.get(&answer)?.age_ms)
    }

    fn drop(&mut self, answer: Resource<Answer>) -> wasmtime::Result<()> {
        self.resources.delete(answer)?;
        Ok(())
    }
}
