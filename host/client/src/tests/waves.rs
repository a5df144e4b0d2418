//! WAV files as programs write them, byte by byte.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use super::*;

/// A chunk, with the byte that follows an odd size.
fn chunk(id: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = sized(id, u32::try_from(body.len()).unwrap());
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn sized(id: &str, size: u32) -> Vec<u8> {
    [id.as_bytes(), &size.to_le_bytes()].concat()
}

fn riff(id: &str, size: u32, chunks: &[&[u8]]) -> Vec<u8> {
    [&sized(id, size), &b"WAVE"[..], &chunks.concat()].concat()
}

/// 16 kHz mono.
fn format(tag: u16, bits: u16, more: &[u8]) -> Vec<u8> {
    format_of(tag, 1, bits, more)
}

fn format_of(tag: u16, channels: u16, bits: u16, more: &[u8]) -> Vec<u8> {
    let align = channels * bits.div_ceil(8);
    let mut body = [tag, channels].map(u16::to_le_bytes).concat();
    body.extend(16_000u32.to_le_bytes());
    body.extend((16_000 * u32::from(align)).to_le_bytes());
    body.extend([align, bits].map(u16::to_le_bytes).concat());
    body.extend_from_slice(more);
    chunk("fmt ", &body)
}

/// What `WAVE_FORMAT_EXTENSIBLE` has behind the usual fields.
fn extension(valid: u16, tag: u16) -> Vec<u8> {
    let mut more = [22, valid].map(u16::to_le_bytes).concat();
    more.extend(4u32.to_le_bytes());
    more.extend(tag.to_le_bytes());
    more.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    more
}

fn pcm() -> Vec<u8> {
    (0..6000u32)
        .map(|at| u8::try_from(at * 7 % 251).unwrap())
        .collect()
}

/// What is streamed of these bytes, as a file and out of a pipe.
async fn streamed(bytes: &[u8]) -> (&'static str, Vec<u8>) {
    let recording = Recording::of_bytes(bytes);
    let file = Audio::open(&recording.path).unwrap();
    let of_file = (file.codec(), all(file).await);
    let piped = piped(bytes).unwrap();
    assert_eq!((piped.codec(), all(piped).await), of_file);
    of_file
}

/// The bytes as they come from a program, a few at a time.
fn piped(bytes: &[u8]) -> anyhow::Result<Audio> {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    let bytes = bytes.to_vec();
    std::thread::spawn(move || {
        for few in bytes.chunks(999) {
            // A reader that does not want the rest has hung up.
            if writer.write_all(few).is_err() {
                return;
            }
        }
    });
    Audio::of_pipe("pipe".to_owned(), reader)
}

async fn all(mut audio: Audio) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = audio.next_chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(audio.total_bytes(), Some(bytes.len() as u64));
    assert_eq!(audio.position(), bytes.len() as u64);
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    let file = Audio::open(&Recording::of_bytes(bytes).path)
        .err()
        .expect("it is refused");
    let pipe = piped(bytes).err().expect("it is refused");
    let (file, pipe) = (format!("{file:#}"), format!("{pipe:#}"));
    let words = pipe.strip_prefix("pipe ").expect("the pipe is named");
    assert!(file.ends_with(words), "{file} {pipe}");
    words.to_owned()
}

#[tokio::test]
async fn chunks_around_the_audio_are_passed_over_whatever_their_size() {
    let (format, data) = (format(1, 16, &[]), chunk("data", &pcm()));
    let odd = chunk("LIST", b"INFOISFT\x05\0\0\0Lavf\0");
    let unpadded = [sized("note", 3), b"abc".to_vec()].concat();
    let none = chunk("none", b"");
    let trailing = chunk("LIST", &[7; 501]);
    let chunks: [&[&[u8]]; 5] = [
        &[&format, &odd, &data],
        &[&odd, &format, &data, &trailing],
        &[&unpadded, &format, &unpadded, &data],
        &[&none, &format, &none, &odd, &data, &trailing],
        &[&chunk("JUNK", &[0; 40_001]), &format, &data],
    ];
    for chunks in chunks {
        let size = u32::try_from(chunks.concat().len() + 4).unwrap();
        assert!(streamed(&riff("RIFF", size, chunks)).await == ("pcm_s16le", pcm()));
    }
}

/// ffmpeg writes the largest number there is, sox one near the largest signed
/// one, and others what they began with.
#[tokio::test]
async fn a_length_that_was_left_open_is_all_until_the_end() {
    let format = format(1, 16, &[]);
    let list = chunk("LIST", b"INFOISFT\x0e\0\0\0Lavf59.27.100\0\0");
    for (riff_size, data_size) in [
        (u32::MAX, u32::MAX),
        (0x7fff_f024, 0x7fff_f000),
        (0x7fff_f048, 0x7fff_efff),
        (0, 0),
        (36, 0),
        (u32::MAX, 0),
    ] {
        let data = [sized("data", data_size), pcm()].concat();
        let bytes = riff("RIFF", riff_size, &[&format, &data]);
        assert!(
            streamed(&bytes).await == ("pcm_s16le", pcm()),
            "{data_size:#x}"
        );
    }
    let data = [sized("data", u32::MAX), pcm()].concat();
    let bytes = riff("RIFF", u32::MAX, &[&format, &list, &data]);
    assert!(streamed(&bytes).await == ("pcm_s16le", pcm()));
    // Half a sample at the end does not count.
    let odd = [sized("data", u32::MAX), pcm(), vec![9]].concat();
    assert!(streamed(&riff("RIFF", u32::MAX, &[&format, &odd])).await.1 == pcm());
}

#[tokio::test]
async fn long_files_have_their_length_elsewhere() {
    let format = format(1, 16, &[]);
    let sizes = |data: u64| {
        let sizes = [0u64, data, 0].map(u64::to_le_bytes).concat();
        chunk("ds64", &[sizes, vec![0; 4]].concat())
    };
    let data = [sized("data", u32::MAX), pcm(), chunk("LIST", b"more")].concat();
    for id in ["RF64", "BW64"] {
        let known = riff(id, u32::MAX, &[&sizes(6000), &format, &data]);
        assert!(streamed(&known).await == ("pcm_s16le", pcm()));
        let data = [sized("data", u32::MAX), pcm()].concat();
        for open in [0, u64::MAX] {
            let bytes = riff(id, u32::MAX, &[&sizes(open), &format, &data]);
            assert!(streamed(&bytes).await == ("pcm_s16le", pcm()));
        }
        // Not that long, after all.
        let short = riff(id, u32::MAX, &[&sizes(1), &format, &chunk("data", &pcm())]);
        assert!(streamed(&short).await == ("pcm_s16le", pcm()));
    }
}

#[tokio::test]
async fn an_extended_format_is_read_for_what_it_is() {
    for (tag, bits, valid, codec) in [
        (1, 8, 8, "pcm_u8"),
        (1, 16, 16, "pcm_s16le"),
        (1, 24, 24, "pcm_s24le"),
        (1, 24, 20, "pcm_s24le"),
        (1, 32, 24, "pcm_s32le"),
        (3, 32, 32, "pcm_f32le"),
    ] {
        let format = format(0xfffe, bits, &extension(valid, tag));
        let bytes = riff("RIFF", 7000, &[&format, &chunk("data", &pcm())]);
        assert!(streamed(&bytes).await == (codec, pcm()), "{codec} {valid}");
    }
    // As sox writes three channels of 24 bits into a pipe.
    let format = format_of(0xfffe, 3, 24, &extension(24, 1));
    let fact = chunk("fact", &0x0e38_e1c7u32.to_le_bytes());
    let data = [sized("data", 0x7fff_efff), pcm()].concat();
    let whole = pcm().len() / 9 * 9;
    let bytes = riff("RIFF", 0x7fff_f048, &[&format, &fact, &data]);
    assert!(streamed(&bytes).await == ("pcm_s24le", pcm()[..whole].to_vec()));
}

#[test]
fn what_is_not_streamed_is_told_why() {
    let pcm_format = format(1, 16, &[]);
    let data = chunk("data", &pcm());
    let with = |format: &[u8]| riff("RIFF", 7000, &[format, &data]);
    let mut huge = riff("RIFF", 36, &[&pcm_format]);
    huge.extend([sized("HURF", 0x3939_3939), vec![b'x'; 5000]].concat());
    let mut huge_format = riff("RIFF", 36, &[&pcm_format, &chunk("data", b"")]);
    huge_format[16..20].copy_from_slice(b"ffff");
    let mut misaligned = pcm_format.clone();
    misaligned[20] = 3;
    let vendor = format(0xfffe, 16, &[&extension(16, 1)[..23], &[0]].concat());
    let silent = format_of(1, 0, 16, &[]);
    for (bytes, words) in [
        (
            riff("RIFX", 7000, &[&pcm_format, &data]),
            "is a big-endian WAV file (RIFX)",
        ),
        (b"".to_vec(), "is not a WAV file: convert it with `ffmpeg"),
        (b"ID3\x04\0\0\0\0\0\0\0\0\0".to_vec(), "is not a WAV file"),
        (b"FORM\0\0\0\x20AIFFCOMM".to_vec(), "is not a WAV file"),
        (b"RIFF\x24\0\0\0AVI LIST".to_vec(), "is not a WAV file"),
        (riff("RIFF", 36, &[]), "breaks off before its audio"),
        (
            riff("RIFF", 36, &[&pcm_format]),
            "breaks off before its audio",
        ),
        (huge, "breaks off before its audio"),
        (huge_format, "breaks off before its audio"),
        (
            riff("RIFF", 7000, &[&data, &pcm_format]),
            "its audio comes before its format",
        ),
        (
            with(&chunk("fmt ", &[1, 0, 1, 0])),
            "its format is too short",
        ),
        (
            with(&format(0xfffe, 16, &[0, 0])),
            "its extended format is too short",
        ),
        (with(&misaligned), "do not come to the size"),
        (with(&silent), "no channels"),
        (with(&vendor), "vendor's own"),
        (with(&format(1, 64, &[])), "has samples of 64 bits"),
        (with(&format(3, 64, &[])), "has samples of 64 bits"),
        (with(&format(2, 4, &[])), "its samples are ADPCM"),
        (with(&format(6, 8, &[])), "its samples are A-law"),
        (with(&format(7, 8, &[])), "its samples are mu-law"),
        (with(&format(0x55, 16, &[])), "its samples are MP3"),
        (
            with(&format(0xfffe, 8, &extension(8, 7))),
            "its samples are mu-law",
        ),
        (with(&format(0x1234, 8, &[])), "0x1234"),
    ] {
        let told = refusal(&bytes);
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[tokio::test]
async fn no_audio_at_all_is_a_stream_without_any() {
    let format = format(1, 16, &[]);
    for bytes in [
        riff("RIFF", 36, &[&format, &chunk("data", b"")]),
        // What follows is not audio: the file as a whole says so.
        riff(
            "RIFF",
            48,
            &[&format, &chunk("data", b""), &chunk("LIST", b"more")],
        ),
    ] {
        assert!(streamed(&bytes).await.1.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_has_less_than_it_says_is_streamed_up_to_there_and_told_of() {
    let data = [sized("data", 8000), pcm()].concat();
    let bytes = riff("RIFF", 8036, &[&format(1, 16, &[]), &data]);
    let recording = Recording::of_bytes(&bytes);
    for mut audio in [recording.audio(), piped(&bytes).unwrap()] {
        let first = audio.next_chunk().await.unwrap().unwrap();
        assert!(first[..] == pcm()[..3200]);
        let told = audio.next_chunk().await.unwrap_err().to_string();
        assert!(told.contains("breaks off in the middle"), "{told}");
    }
}

#[tokio::test]
async fn of_a_pipe_what_is_not_acknowledged_can_be_sent_again_and_nothing_else() {
    let data = [sized("data", u32::MAX), pcm()].concat();
    let bytes = riff("RIFF", u32::MAX, &[&format(1, 16, &[]), &data]);
    let mut audio = piped(&bytes).unwrap();
    assert_eq!(audio.total_bytes(), None);
    audio.next_chunk().await.unwrap();
    audio.forget(1000);
    audio.seek(1001).unwrap();
    let rest = all_from(&mut audio).await;
    assert!(rest == pcm()[1001..]);
    // A frame before it: a new stream begins with a whole one.
    audio.seek(998).unwrap();
    let told = audio.seek(997).unwrap_err().to_string();
    assert!(told.contains("not kept"), "{told}");
    assert!(audio.seek(6001).is_err());
    // Who is given no acknowledgements keeps nothing.
    let mut audio = piped(&bytes).unwrap();
    audio.keep_nothing();
    assert!(all_from(&mut audio).await == pcm());
    assert!(audio.seek(5999).is_err());
}

async fn all_from(audio: &mut Audio) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = audio.next_chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}
