// Run one job under 32-bit MicroPython, told by mpy32.py on stdin; one line of JSON per step goes out, then the printed text.
//
// job: {program, heap, ticks, files: [[path there, path here]], folder, search_path, steps: [[name, code]]}
// A step may leave a list of further steps, as JSON, in the global `more`. Garbage is collected between steps only: this
// port cannot see its own C stack.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const { loadMicroPython } = await import(job.program);
const printed = [];
const mp = await loadMicroPython({
  heapsize: job.heap,
  pystack: 8 * 1024,
  stdout: (text) => printed.push(text),
  linebuffer: true,
});

const ciphers = [];
const bytes = (hex) => Buffer.from(hex, "hex");
mp.registerJsModule("_node", {
  cipher: (key, mode, iv, encrypts) => {
    const name = `aes-${key.length * 4}-${mode === 1 ? "ecb" : "cbc"}`;
    const make = encrypts ? crypto.createCipheriv : crypto.createDecipheriv;
    return ciphers.push(make(name, bytes(key), mode === 1 ? null : bytes(iv)).setAutoPadding(false)) - 1;
  },
  update: (number, data) => ciphers[number].update(bytes(data)).toString("hex"),
  random: (size) => crypto.randomBytes(size).toString("hex"),
});

for (const [there, here] of job.files) {
  mp.FS.mkdirTree(path.dirname(there));
  mp.FS.writeFile(there, fs.readFileSync(here));
}
mp.FS.mkdirTree(job.folder);
mp.FS.chdir(job.folder);

// The port's ticks count from its start, by this clock.
const now = Date.now;
const shift = job.ticks - 1;
Date.now = () => now() + shift;

mp.runPython(`import gc, sys\nsys.path[:] = ${JSON.stringify(job.search_path)}\nmore = ""`);
const steps = [...job.steps];
while (steps.length) {
  const [name, code] = steps.shift();
  let error = null;
  printed.length = 0;
  try {
    mp.runPython(code);
  } catch (trouble) {
    error = String(trouble.message ?? trouble);
  }
  mp.runPython("gc.collect()");
  mp.runPython("print('<heap>', gc.mem_alloc())");
  const alloc = Number(printed.pop().split(" ")[1]);
  process.stdout.write(JSON.stringify({ name, error, alloc, printed: printed.join("\n") }) + "\n");
  const more = mp.globals.get("more");
  if (more) {
    mp.runPython('more = ""');
    steps.unshift(...JSON.parse(more));
  }
}
