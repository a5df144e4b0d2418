//! What becomes of a message of the client.

use bytes::Bytes;

use super::relay::Relay;
use crate::socket::cause::Cause;
use crate::socket::handshake::ClientProtocol;
use crate::socket::message::{ClientMessage, HostMessage};
use upstream::{Control, Upward};
use wire::frame::Message;

impl Relay<'_> {
    pub(super) fn handle(&mut self, message: Message) -> Result<(), Cause> {
        let said = match &message {
            Message::Text(text) if self.speaks != ClientProtocol::Plain => {
                Some(ClientMessage::parse(text))
            }
            _ => None,
        };
        // Before anybody else sees it: policies that look at messages get no token.
        if let Some(ClientMessage::Auth { token }) = &said {
            self.renew(token);
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            watch.saw(&message);
        }
        if let Message::Binary(payload) | Message::Text(payload) = &message {
            self.pace.spend(payload.len());
        }
        match message {
            Message::Text(text) if let Some(said) = said => return self.handle_json(&said, text),
            Message::Binary(payload) => {
                if let Some(attachment) = self.returned.take() {
                    attachment.token_is_known();
                }
                self.log.live.has_received(&payload);
                let pace = self.pace.takes(payload.len());
                // What came in time is taken all the same.
                self.link.start_send(Upward::Binary(payload));
                pace.map_err(Cause::StreamLimit)?;
            }
            Message::Text(text) => self.link.start_send(Upward::Text(text)),
            Message::Ping(payload) => self.wire.writer.pong(&payload),
            Message::Pong(_) => {}
            Message::Close(close) => return Err(Cause::ClientClosed(close)),
        }
        Ok(())
    }

    fn handle_json(&mut self, said: &ClientMessage, text: Bytes) -> Result<(), Cause> {
        match said {
            ClientMessage::Ping => self.answer(&HostMessage::pong()),
            // A token is taken before anything else.
            ClientMessage::Pong | ClientMessage::Auth { .. } => {}
            ClientMessage::Pause => {
                self.log.pauses += 1;
                self.pauses(true);
                self.link.start_send(Upward::Control(Control::Pause));
                self.answer(&HostMessage::status("paused"));
            }
            ClientMessage::Resume => {
                self.pauses(false);
                self.link.start_send(Upward::Control(Control::Resume));
                self.answer(&HostMessage::status("resumed"));
            }
            ClientMessage::Finalize => return Err(Cause::Finalized),
            ClientMessage::Close => return Err(Cause::ClientDone),
            ClientMessage::Unknown => {
                self.log.unknown_messages += 1;
                self.link.start_send(Upward::Text(text));
            }
        }
        Ok(())
    }

    fn pauses(&mut self, paused: bool) {
        if let Some(watch) = &mut self.watch {
            watch.paused(paused);
        }
    }

    pub(super) fn answer(&mut self, message: &HostMessage<'_>) {
        self.wire.writer.text(&message.to_json());
    }
}
