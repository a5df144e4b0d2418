//! What `sluice serve` prints when it starts with a generated key: where it
//! listens, and with the built-in configuration a token and a line to copy. This
//! is the one place where the gateway ever prints a token.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use base::text::shell_word;

/// The spoken sample in the source tree, for the first stream.
pub(crate) const SAMPLE: &str = "tests/speech/sample.wav";

/// What the banner tells.
#[derive(Clone, Copy)]
pub struct Banner<'a> {
    /// Where the gateway listens; the first is in the line to copy.
    pub listen: &'a [SocketAddr],
    /// `ws`, or `wss` where it speaks TLS.
    pub scheme: &'a str,
    /// A path on which it takes a stream, such as `/ws/ingest/meetings/demo`.
    pub path: &'a str,
    /// The program as the user typed it.
    pub program: &'a str,
    /// A token that the route accepts.
    pub token: &'a str,
    /// How long it does, in words: `12 h`.
    pub valid_for: &'a str,
    /// Where recordings go.
    pub recordings: &'a str,
}

impl Banner<'_> {
    /// The banner, with a newline at its end. No line but those with the token
    /// is longer than 100 columns, unless a path is.
    #[must_use]
    pub fn render(&self) -> String {
        let url = format!("{}://{}{}", self.scheme, reachable(self.listen), self.path);
        let program = shell_word(self.program);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "
  Sluice {version} listens on {listen}

    endpoint     {url}
    recordings   {recordings}

  A token for development, valid for {valid_for} (`{program} token --help` makes more):

{token}

  Speak to it, from another terminal:

{program} stream {SAMPLE} --url {url} --token {token}

  Stop it with Ctrl-C.

",
            version = env!("CARGO_PKG_VERSION"),
            listen = all(self.listen),
            url = shell_word(&url),
            recordings = self.recordings,
            valid_for = self.valid_for,
            token = self.token,
        );
        text
    }
}

/// What is printed with a configuration file: which tokens it accepts, only its
/// policies know. `path` is one to stream to, if there is any; `mint` is the command that makes a token,
/// word by word.
#[must_use]
pub(crate) fn without_a_token(
    listen: &[SocketAddr],
    scheme: &str,
    path: Option<&str>,
    mint: &[String],
) -> String {
    let words: Vec<_> = mint.iter().map(|word| shell_word(word)).collect();
    let mint = words.join(" ");
    let program = words.first().map(Cow::as_ref).unwrap_or_default();
    let line = path.map_or_else(String::new, |path| {
        let url = format!("{scheme}://{}{path}", reachable(listen));
        let url = shell_word(&url);
        format!(
            "
  Stream a WAV file to it, from another terminal:

{program} stream FILE.wav --url {url} --token \"$({mint})\"
"
        )
    });
    format!(
        "
  Sluice {version} listens on {listen}

  The policies of this configuration decide which tokens they accept. This command makes one
  (`--help` says what can be in it):

{mint}
{line}
  Stop it with Ctrl-C.

",
        version = env!("CARGO_PKG_VERSION"),
        listen = all(listen),
    )
}

fn all(listen: &[SocketAddr]) -> String {
    let all: Vec<_> = listen.iter().map(SocketAddr::to_string).collect();
    all.join(", ")
}

/// An address that a client on this machine can connect to.
fn reachable(listen: &[SocketAddr]) -> SocketAddr {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = *listen.first().unwrap_or(&nowhere);
    let ip = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LISTEN: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)];
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl";

    fn banner() -> Banner<'static> {
        Banner {
            listen: &LISTEN,
            scheme: "ws",
            path: "/ws/ingest/meetings/demo",
            program: "target/debug/sluice",
            token: TOKEN,
            valid_for: "12 h",
            recordings: "data/recordings",
        }
    }

    fn command(banner: &Banner<'_>) -> String {
        let text = banner.render();
        text.lines()
            .find(|line| line.contains(" stream "))
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_command_works_as_it_is_copied() {
        assert_eq!(
            command(&banner()),
            format!(
                "target/debug/sluice stream tests/speech/sample.wav \
                 --url ws://127.0.0.1:8080/ws/ingest/meetings/demo --token {TOKEN}"
            )
        );
    }

    #[test]
    fn a_program_with_a_space_is_quoted() {
        let spaced = Banner {
            program: "/my tools/it's/sluice",
            ..banner()
        };
        let command = command(&spaced);
        assert!(
            command.starts_with(r"'/my tools/it'\''s/sluice' stream "),
            "{command}"
        );
    }

    #[test]
    fn the_wildcard_address_is_replaced_by_one_to_connect_to() {
        for (listen, host) in [
            ("0.0.0.0:9000", "ws://127.0.0.1:9000/"),
            ("[::]:9000", "ws://[::1]:9000/"),
        ] {
            let text = Banner {
                listen: &[listen.parse().unwrap()],
                ..banner()
            }
            .render();
            assert!(text.contains(&format!("listens on {listen}\n")), "{text}");
            assert!(text.contains(host), "{text}");
        }
    }

    #[test]
    fn the_token_stands_alone_on_a_line() {
        assert!(banner().render().lines().any(|line| line == TOKEN));
    }

    #[test]
    fn it_fits_a_terminal() {
        let text = banner().render();
        for line in text.lines().filter(|line| !line.contains(TOKEN)) {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(text.ends_with("\n\n"));
    }
}
