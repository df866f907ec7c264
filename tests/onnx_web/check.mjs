// Runs every model of a folder in onnxruntime-web's WebAssembly and compares its integers with those beside it.

import { readFileSync, readdirSync } from "node:fs";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;

// Numbers in the order (image, channel, row, column), from rows in the order (row, column, channel).
function channelsFirst(rows, [height, width, channels], numbers) {
  const pixels = height * width;
  rows.forEach((row, image) => {
    row.forEach((value, at) => {
      const channel = at % channels;
      const pixel = (at - channel) / channels;
      numbers[(image * channels + channel) * pixels + pixel] = value;
    });
  });
  return numbers;
}

const folder = process.argv[2];
const files = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
for (const file of files) {
  const facts = JSON.parse(readFileSync(`${folder}/${file.replace(".onnx", ".json")}`, "utf8"));
  const model = readFileSync(`${folder}/${file}`);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const count = facts.inputs.length;
  const [height, width, channels] = facts.input;
  const size = height * width * channels;
  const [name] = session.inputNames;
  const input =
    name === "image"
      ? new ort.Tensor(
          "uint8",
          channelsFirst(facts.inputs, facts.input, new Uint8Array(count * size)),
          [count, channels, height, width],
        )
      : new ort.Tensor("int32", Int32Array.from(facts.inputs.flat()), [count, size]);
  const { logits } = await session.run({ [name]: input });
  const wanted = channelsFirst(facts.logits, facts.output, new Int32Array(logits.data.length));
  const wrong = wanted.findIndex((value, at) => value !== logits.data[at]);
  if (wrong >= 0) {
    throw new Error(`${file}: number ${wrong} is ${logits.data[wrong]} instead of ${wanted[wrong]}`);
  }
}
console.log(files.length, "models agree");
