// Checks the protocol's document, host/protocol/asyncapi.json: against AsyncAPI's own JSON schema, that its references
// lead somewhere, and each example against the schema of its message.
//
// On standard input, one JSON object a line: {"message": NAME, "value": …} is checked against that message's schema.
// Whatever is wrong is printed, and the status is then 1.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import Ajv from "ajv";

const specification = createRequire(import.meta.url)("@asyncapi/specs/schemas/3.0.0.json");
const document = JSON.parse(readFileSync(new URL("../host/protocol/asyncapi.json", import.meta.url)));
// The schemas have annotations that are no keywords of JSON Schema, and formats like "binary".
const options = { strict: false, validateFormats: false, allErrors: true };
const ajv = new Ajv(options);
const mistakes = [];

const check = (schema, value, what, by = ajv) => {
  const valid = by.compile(schema);
  if (!valid(value)) mistakes.push(`${what}: ${by.errorsText(valid.errors)}: ${JSON.stringify(value).slice(0, 300)}`);
};

const find = (reference) =>
  reference
    .slice(2)
    .split("/")
    .reduce((at, name) => at?.[name], document);

const follow = (at) => {
  if (typeof at !== "object" || at === null) return;
  if (typeof at.$ref === "string" && !find(at.$ref)) mistakes.push(`${at.$ref} leads nowhere`);
  Object.values(at).forEach(follow);
};

const { messages } = document.components;
const schema = (name) => find(messages[name].payload.$ref);

// It brings JSON Schema's own schema, so that there must not be another one.
check(specification, document, "the document", new Ajv({ ...options, meta: false, validateSchema: false }));
follow(document);
for (const [name, message] of Object.entries(messages))
  for (const example of message.examples ?? []) check(schema(name), example.payload, `example "${example.name}" of ${name}`);

let seen = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { message, value } = JSON.parse(line);
  if (messages[message]) check(schema(message), value, message);
  else mistakes.push(`there is no message ${message}`);
  seen += 1;
}

mistakes.forEach((mistake) => console.log(mistake));
console.log(`${seen} messages seen, ${mistakes.length} mistakes`);
process.exitCode = mistakes.length ? 1 : 0;
