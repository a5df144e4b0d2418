// Metrics in the text format of Prometheus.

const SAMPLE = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

export class Metrics {
  #samples = [];

  constructor(text) {
    for (const line of text.split("\n")) {
      const parts = SAMPLE.exec(line);
      if (!parts) continue;
      const [, name, labels, value] = parts;
      const pairs = [...(labels ?? "").matchAll(LABEL)];
      const unescaped = pairs.map(([, label, text]) => [label, text.replace(/\\./g, (pair) => ESCAPED[pair] ?? pair)]);
      this.#samples.push({ name, labels: Object.fromEntries(unescaped), value: Number(value) });
    }
  }

  #of(name, wanted = {}) {
    const is = (sample) => Object.entries(wanted).every(([label, value]) => sample.labels[label] === value);
    return this.#samples.filter((sample) => sample.name === name && is(sample));
  }

  /** Sum of the samples with these labels; 0 if there are none. */
  value(name, labels) {
    return this.#of(name, labels).reduce((sum, sample) => sum + sample.value, 0);
  }

  /** Sums of the samples with these labels, by another one. */
  by(name, label, labels) {
    const sums = new Map();
    for (const sample of this.#of(name, labels)) {
      const key = sample.labels[label];
      sums.set(key, (sums.get(key) ?? 0) + sample.value);
    }
    return sums;
  }

  /** Values that a label of a metric has. */
  values(name, label) {
    return [...new Set(this.#of(name).map((sample) => sample.labels[label]))].sort();
  }

  /** Histogram: its count, and bounds of its quantiles. */
  histogram(name, labels) {
    const bound = (le) => (le === "+Inf" ? Infinity : Number(le));
    const buckets = [...this.by(`${name}_bucket`, "le", labels)].map(([le, value]) => [bound(le), value]);
    buckets.sort(([one], [two]) => one - two);
    const count = this.value(`${name}_count`, labels);
    return {
      count,
      quantile(part) {
        if (count === 0) return null;
        return buckets.find(([, below]) => below >= part * count)?.[0] ?? null;
      },
    };
  }
}
