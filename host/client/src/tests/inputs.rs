use clap::Parser;
use futures_util::FutureExt as _;
use hound::{SampleFormat, WavSpec};

use std::path::Path;

use super::*;
use base::secret::Secret;

const WAV: WavSpec = WavSpec {
    channels: 1,
    sample_rate: 16_000,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

#[track_caller]
fn not_opened(path: &Path, words: &[&str]) {
    let Err(error) = Audio::open(path) else {
        panic!("{} was opened", path.display())
    };
    let message = format!("{error:#}");
    for word in words.iter().copied().chain([path.to_str().unwrap()]) {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// Next chunk of a file, which is available without waiting.
fn next_chunk(audio: &mut Audio) -> anyhow::Result<Option<bytes::Bytes>> {
    let chunk = audio.next_chunk().now_or_never();
    chunk.expect("a file is not waited for")
}

fn rest(audio: &mut Audio) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(audio).unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn read_all(recording: &Recording) -> Vec<u8> {
    let mut audio = recording.audio();
    let bytes = rest(&mut audio);
    assert_eq!(audio.total_bytes(), Some(bytes.len() as u64));
    bytes
}

#[test]
fn files_that_are_no_recordings_are_named() {
    not_opened(
        Path::new("/nonexistent/a.wav"),
        &["cannot be opened", "No such file"],
    );
    let folder = tempfile::tempdir().unwrap();
    not_opened(folder.path(), &["is a folder"]);
    for bytes in [&b""[..], b"RIFF", b"ID3 this is a song", &[0; 200]] {
        not_opened(
            &Recording::of_bytes(bytes).path,
            &["not a WAV file", "ffmpeg"],
        );
    }
}

#[test]
fn a_wav_file_that_is_not_pcm_is_refused() {
    let mut bytes = std::fs::read(&Recording::new(10).path).unwrap();
    bytes[20] = 7; // The format tag: mu-law.
    not_opened(
        &Recording::of_bytes(&bytes).path,
        &["not one of plain PCM", "ffmpeg"],
    );
}

#[test]
fn samples_of_each_width_are_read_as_they_stand() {
    let ints = [0, 1, -1, 127, -128, 55];
    for (bits, codec) in [
        (8, "pcm_u8"),
        (16, "pcm_s16le"),
        (24, "pcm_s24le"),
        (32, "pcm_s32le"),
    ] {
        let spec = WavSpec {
            bits_per_sample: bits,
            ..WAV
        };
        let recording = Recording::with::<i32>(spec, ints.into_iter());
        let audio = recording.audio();
        assert_eq!(audio.codec(), codec);
        assert_eq!(audio.bytes_per_second(), 16_000 * u64::from(bits / 8));
        let pcm = read_all(&recording);
        let file = std::fs::read(&recording.path).unwrap();
        assert_eq!(pcm.len(), ints.len() * usize::from(bits / 8));
        assert!(file.ends_with(&pcm), "{codec}: {pcm:?}");
    }
    let float = WavSpec {
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
        ..WAV
    };
    let recording = Recording::with(float, [0.0f32, -0.5, 1.0].into_iter());
    assert_eq!(recording.audio().codec(), "pcm_f32le");
    let bytes: Vec<u8> = [0.0f32, -0.5, 1.0]
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    assert_eq!(read_all(&recording), bytes);
}

#[test]
fn a_chunk_is_a_tenth_of_a_second_of_all_channels() {
    let stereo = WavSpec {
        channels: 2,
        sample_rate: 44_100,
        ..WAV
    };
    let recording = Recording::with(stereo, std::iter::repeat_n(1i16, 44_100));
    let mut audio = recording.audio();
    assert_eq!((audio.channels(), audio.sample_rate()), (2, 44_100));
    let mut sizes = Vec::new();
    while let Some(chunk) = next_chunk(&mut audio).unwrap() {
        sizes.push(chunk.len());
    }
    assert_eq!(sizes, [17_640; 5]);
}

#[test]
fn audio_is_read_from_any_byte_on() {
    let stereo = WavSpec {
        channels: 2,
        bits_per_sample: 24,
        ..WAV
    };
    let samples = (0..4000).map(|at| at * 1009 % 8_000_000);
    let recording = Recording::with::<i32>(stereo, samples);
    let whole = read_all(&recording);
    let mut audio = recording.audio();
    assert_eq!(audio.frame(), 6);
    // Back and forth, in the middle of samples and of frames, and to the end.
    for position in [0, 1, 5, 6, 9601, 7, 11_999, 12_000, 3] {
        audio.seek(position).unwrap();
        let rest = rest(&mut audio);
        let from = usize::try_from(position).unwrap();
        assert!(rest == whole[from..], "from {position}");
        assert_eq!(audio.position(), 12_000);
    }
    let error = audio.seek(12_001).unwrap_err().to_string();
    assert!(
        error.contains("past the end") && error.contains("12000"),
        "{error}"
    );
}

#[test]
fn what_leads_back_to_a_stream_is_a_header_and_never_shown() {
    let token: ResumeToken = "HUSH-token_1".parse().unwrap();
    let target: Target = "ws://h/m".parse().unwrap();
    let request = target.request(None, Some(&token)).unwrap();
    assert_eq!(request.headers()["x-sluice-resume"], "HUSH-token_1");
    assert_eq!(request.uri(), "ws://h/m");
    let shown = format!("{token:?} {request:?}");
    assert!(!shown.contains("HUSH"), "{shown}");
    assert!("a\nb".parse::<ResumeToken>().is_err());
}

#[test]
fn only_ws_urls_are_targets() {
    for (url, error) in [
        ("http://127.0.0.1:8080/", "ws://"),
        ("https://127.0.0.1:8080/", "wss://"),
        ("127.0.0.1:8080", "ws://"),
        ("/ws/ingest", "ws://"),
        ("ws://", "not a URL"),
        ("", "not a URL"),
        ("ws://a b/", "not a URL"),
    ] {
        let message = url.parse::<Target>().unwrap_err().to_string();
        assert!(message.contains(error), "{url:?}: {message}");
    }
}

#[test]
fn a_target_without_a_port_has_that_of_its_scheme() {
    for (url, host, port) in [
        ("ws://example.com/", "example.com", 80),
        ("wss://example.com/", "example.com", 443),
        ("wss://[::1]:9/", "::1", 9),
    ] {
        let target: Target = url.parse().unwrap();
        assert_eq!((target.host(), target.port()), (host, port), "{url}");
    }
}

#[test]
fn an_authority_for_a_connection_without_tls_is_a_mistake() {
    let target = |url: &str| url.parse::<Target>().unwrap();
    let plain = target("ws://h/").trusting_only("ca.pem".into());
    assert!(plain.unwrap_err().to_string().contains("wss://"));
    assert!(target("wss://h/").trusting_only("ca.pem".into()).is_ok());
}

#[test]
fn the_source_is_added_unless_the_url_names_one() {
    let with_source = |url: &str| {
        let request = url
            .parse::<Target>()
            .unwrap()
            .with_source("mic")
            .request(None, None)
            .unwrap();
        request.uri().to_string()
    };
    assert_eq!(with_source("ws://h/m"), "ws://h/m?source=mic");
    assert_eq!(with_source("ws://h:1"), "ws://h:1/?source=mic");
    assert_eq!(with_source("ws://h/m?"), "ws://h/m?source=mic");
    assert_eq!(with_source("ws://h/m?a=b"), "ws://h/m?a=b&source=mic");
    assert_eq!(with_source("ws://h/m?source=sys"), "ws://h/m?source=sys");
    assert_eq!(
        with_source("ws://h/m?s%6Furce=sys"),
        "ws://h/m?s%6Furce=sys"
    );
    assert_eq!(
        with_source("ws://h/m?resource=x"),
        "ws://h/m?resource=x&source=mic"
    );
}

#[test]
fn a_target_is_shown_without_its_secrets() {
    let target: Target = "ws://user:HUSH@h:1/m?token=HUSH".parse().unwrap();
    assert_eq!(target.to_string(), "ws://h:1/m");
    assert_eq!(format!("{target:?}"), "Target(ws://h:1/m)");
}

#[test]
fn a_token_is_stripped_and_never_shown() {
    let token: BearerToken = "\n abc.def \r\n".parse().unwrap();
    let target: Target = "ws://h/m".parse().unwrap();
    let request = target.request(Some(&token), None).unwrap();
    assert_eq!(request.headers()["authorization"], "Bearer abc.def");
    assert!(!format!("{token:?} {:?}", request.headers()).contains("abc"));
}

#[test]
fn a_text_that_is_no_token_is_refused_without_being_shown() {
    for text in ["", " \n", "HUSH HUSH", "HUSH\nHUSH", "HUSHğ", "HUSH\0"] {
        let message = text.parse::<BearerToken>().unwrap_err().to_string();
        assert!(!message.contains("HUSH"), "{message}");
    }
}

fn arguments(more: &[&str]) -> StreamArgs {
    #[derive(Debug, Parser)]
    struct Stream {
        #[command(flatten)]
        args: StreamArgs,
    }

    let words = ["stream", "/nonexistent.wav", "--url", "ws://h/m"];
    let stream = Stream::try_parse_from(words.iter().chain(more)).unwrap();
    stream.args
}

#[test]
fn the_token_comes_from_argument_file_or_environment_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = || Some("from-environment".to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sent = |arguments: &StreamArgs, environment| {
        let tokens = Tokens::from(choose_token(arguments, environment).unwrap());
        let token = runtime.block_on(tokens.current()).unwrap();
        let request = "ws://h/m"
            .parse::<Target>()
            .unwrap()
            .request(token.as_ref(), None)
            .unwrap();
        request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let argument = arguments(&["--token", " from-argument "]);
    assert_eq!(
        sent(&argument, environment()).as_deref(),
        Some("Bearer from-argument")
    );
    let in_file = arguments(&["--token-file", file]);
    assert_eq!(
        sent(&in_file, environment()).as_deref(),
        Some("Bearer from-file")
    );
    assert_eq!(
        sent(&arguments(&[]), environment()).as_deref(),
        Some("Bearer from-environment")
    );
    assert_eq!(sent(&arguments(&[]), None), None);
}

#[test]
fn a_token_that_cannot_be_had_says_where_it_was_looked_for() {
    let error = |more: &[&str], environment: Option<&str>| {
        let result = choose_token(&arguments(more), environment.map(str::to_owned));
        format!("{:#}", result.unwrap_err())
    };
    assert!(error(&["--token-file", "/nonexistent/token"], None).contains("/nonexistent/token"));
    assert!(error(&[], Some("")).contains("the token in SLUICE_TOKEN: it is empty"));
    assert!(error(&["--token", "two HUSH"], None).contains("the token in --token: it has"));
}

#[test]
fn inputs_that_are_wrong_have_exit_codes_of_their_own() {
    let outcome = |url: &str| {
        let mut args = arguments(&[]);
        args.url = Secret::new(url);
        let Err(outcome) = prepare(&args, None) else {
            panic!("{url} was accepted")
        };
        (outcome.exit_code(), outcome.to_string())
    };
    let (code, message) = outcome("http://h/m?token=HUSH");
    assert_eq!(
        (code, message.as_str()),
        (
            2,
            "error: --url: a WebSocket URL starts with ws:// or wss://"
        )
    );
    let (code, message) = outcome("ws://h/m");
    assert!(
        code == 1 && message.contains("/nonexistent.wav cannot be opened"),
        "{message}"
    );
}
