// WAV files: samples and waveform.

/** Format and samples of a WAV file; `null` if it is none, or not PCM. */
export function parse(buffer) {
  const view = new DataView(buffer);
  const word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    if (word(at) === "fmt " && at + 24 <= buffer.byteLength) {
      let tag = view.getUint16(at + 8, true);
      if (tag === 0xfffe && at + 34 <= buffer.byteLength) tag = view.getUint16(at + 32, true);
      format = { tag, channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), bits: view.getUint16(at + 22, true) };
    }
    if (word(at) === "data") {
      const known = format && ((format.tag === 1 && [8, 16, 24, 32].includes(format.bits)) || (format.tag === 3 && format.bits === 32));
      if (!known) return null;
      const bytes = Math.min(size, buffer.byteLength - at - 8);
      return { ...format, data: new DataView(buffer, at + 8, bytes) };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

/** Value of a sample, from -1 to 1. */
function reader({ tag, bits, data }) {
  if (tag === 3) return (at) => data.getFloat32(at, true);
  if (bits === 8) return (at) => (data.getUint8(at) - 128) / 128;
  if (bits === 16) return (at) => data.getInt16(at, true) / 32768;
  if (bits === 24) return (at) => ((data.getInt8(at + 2) << 16) | data.getUint16(at, true)) / 8388608;
  return (at) => data.getInt32(at, true) / 2147483648;
}

/** Peaks of a WAV file in this many parts, from 0 to 1; `null` if it is not PCM. */
export function peaks(buffer, parts) {
  const wav = parse(buffer);
  if (!wav) return null;
  const width = wav.bits / 8;
  const samples = Math.floor(wav.data.byteLength / width);
  const value = reader(wav);
  // A long file is not read whole: what the eye sees needs fewer samples.
  const stride = Math.max(1, Math.floor(samples / parts / 2000));
  return Array.from({ length: parts }, (_, part) => {
    const end = Math.floor(((part + 1) * samples) / parts);
    let peak = 0;
    for (let at = Math.floor((part * samples) / parts); at < end; at += stride) peak = Math.max(peak, Math.abs(value(at * width)));
    return Math.min(1, peak);
  });
}
