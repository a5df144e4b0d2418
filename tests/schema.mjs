// Validates configurations, as JSON on standard input, against the schema in a file. Prints for each
// whether it is valid, and why not.
import { readFileSync } from "node:fs";
import Ajv from "ajv";

const validate = new Ajv({ allErrors: true, strict: true, strictRequired: false }).compile(
  JSON.parse(readFileSync(process.argv[2], "utf8")),
);
const verdicts = JSON.parse(readFileSync(0, "utf8")).map((config) => ({
  valid: validate(config),
  errors: (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`),
}));
console.log(JSON.stringify(verdicts));
