// A device on a MicroPython of 32 bits: the WebAssembly port under node, with real UDP sockets. See board32.py beside it.
// argv: micropython.mjs, folder with shims/, lib/ and boot files. Commands come as lines of JSON on stdin, answers go to
// stdout as lines of JSON: {"run": [code, ...]} -> {"out": text} or {"error": text}, of the last one. Between commands
// the device runs; of one command the codes run without a step of the device between them.
// With a third argument, a time in ms, the device has a clock and sockets of its caller's making: see lockstep.py.
import crypto from "node:crypto";
import dgram from "node:dgram";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const [, , program, folder, begin] = process.argv;
const isLockstep = begin !== undefined;
let now = Number(begin);
if (isLockstep) Date.now = () => now;
const { loadMicroPython } = await import(pathToFileURL(program));
const STEP_MS = 2;
const MAILBOX = 6; // datagrams that lwIP keeps for a socket
const MOST_TURNS = 10000;

let printed = "";
let asked = false; // what a command prints is its answer
const mp = await loadMicroPython({
    heapsize: 1 << 20,
    pystack: 1 << 15,
    stdout: (line) => {
        printed += line + "\n";
        if (!asked) process.stdout.write(JSON.stringify({ print: line }) + "\n");
    },
    linebuffer: true,
});

const sockets = new Map();
const ciphers = new Map();
const nvs = new Map();
let next = 1;
let opened = []; // since the last answer, for a caller that makes the network itself
let sent = [];

function openSocket(port, shared) {
    const id = next++;
    const queue = [];
    if (isLockstep) {
        sockets.set(id, { queue });
        opened.push([id, port, shared]);
        return id;
    }
    const socket = dgram.createSocket({ type: "udp4", reuseAddr: shared });
    socket.on("error", () => {});
    socket.on("message", (data, from) => {
        if (queue.length < MAILBOX) queue.push([data.toString("hex"), from.address, from.port]);
    });
    socket.bind(port, shared ? "0.0.0.0" : "127.0.0.1", () => socket.setBroadcast(true));
    sockets.set(id, { socket, queue });
    return id;
}

let drawn = 0;

// Return bytes that are the same ones in every run.
function seededBytes(count) {
    let bytes = Buffer.alloc(0);
    while (bytes.length < count) bytes = Buffer.concat([bytes, crypto.createHash("sha256").update(`${drawn++}`).digest()]);
    return bytes.subarray(0, count);
}

mp.registerJsModule("host32", {
    open_socket: openSocket,
    close_socket: (id) => {
        sockets.get(id)?.socket?.close();
        sockets.delete(id);
    },
    send: (id, hex, address, port) => {
        const data = Buffer.from(hex, "hex");
        if (isLockstep) sent.push([id, hex, address, port]);
        else sockets.get(id)?.socket.send(data, port, address, () => {});
        return data.length;
    },
    waiting: (id) => sockets.get(id)?.queue.length ?? 0,
    receive: (id) => (sockets.get(id)?.queue.shift() ?? ["", "", 0]).join(" "),
    cipher: (key, iv, decrypts) => {
        const id = next++;
        const make = decrypts ? crypto.createDecipheriv : crypto.createCipheriv;
        const name = key.length === 32 ? "aes-128-cbc" : "aes-256-cbc";
        ciphers.set(id, make(name, Buffer.from(key, "hex"), Buffer.from(iv, "hex")).setAutoPadding(false));
        return id;
    },
    crypt: (id, hex) => ciphers.get(id).update(hex, "hex", "hex"),
    random: (count) => (isLockstep ? seededBytes(count) : crypto.randomBytes(count)).toString("hex"),
    nvs_get: (key) => nvs.get(key) ?? "",
    nvs_set: (key, hex) => void nvs.set(key, hex),
    nvs_erase: (key) => nvs.delete(key),
});

function copy(from, to) {
    if (to) mp.FS.mkdirTree(to);
    for (const name of fs.readdirSync(from)) {
        const source = path.join(from, name);
        if (fs.statSync(source).isDirectory()) copy(source, `${to}/${name}`);
        else mp.FS.writeFile(`${to}/${name}`, fs.readFileSync(source));
    }
}

copy(folder, "");
mp.runPython("import sys\nsys.path[:] = ['/shims', '/lib']");
if (isLockstep) mp.runPython("import random\nrandom.seed(1)");

function run(code) {
    printed = "";
    try {
        mp.runPython(code);
        return { out: printed };
    } catch (error) {
        return { error: String(error.message ?? error) };
    }
}

function step() {
    asked = false; // what it prints is its console
    const { error } = run("asyncio.step()");
    if (error) process.stdout.write(JSON.stringify({ print: error }) + "\n");
}

// Let the device run at a time until it has nothing left to do then; return what it sent and when it wants to go on.
function advance({ at, datagrams }) {
    now = at;
    for (const [id, hex, address, port] of datagrams) {
        const queue = sockets.get(id)?.queue;
        if (queue && queue.length < MAILBOX) queue.push([hex, address, port]);
    }
    let wake = 0;
    for (let turn = 0; wake === 0 && turn < MOST_TURNS; turn++) {
        step();
        asked = true;
        wake = Number(run("print(asyncio.idle_ms())").out);
    }
    const answer = { wake, sent, opened };
    [sent, opened] = [[], []];
    return answer;
}

let stepping = false;
setInterval(() => {
    if (stepping && !isLockstep) step();
}, STEP_MS);

readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const request = JSON.parse(line);
    if (request.start !== undefined) stepping = request.start;
    asked = true;
    const answer = request.run !== undefined ? request.run.map(run).pop() : request.at !== undefined ? advance(request) : {};
    asked = false;
    process.stdout.write(JSON.stringify({ answer: 1, ...answer }) + "\n");
}).on("close", () => process.exit(0));
