// Runs inline programs of the Automation API with the official Node.js SDK, one request after another, as worker.py
// does for Python. NODE_PATH names the folder of the packages.
"use strict";

const fs = require("fs");
const readline = require("readline");
const automation = require("@pulumi/pulumi/automation");

const answers = 1;
const sdk = require.resolve("@pulumi/databricks");
let command;
// Programs and the SDK may print; only answers go to the test.
console.log = console.info = console.error;

async function run(request) {
    const program = require(request.program);
    const stack = await automation.LocalWorkspace.createOrSelectStack(
        { stackName: request.stack, projectName: request.project, program: async () => program(request.arguments) },
        {
            workDir: request.work_dir, envVars: request.env, secretsProvider: request.secrets_provider,
            // A new PulumiCommand asks the engine for its version, so there is one for all requests.
            pulumiCommand: await (command ??= automation.PulumiCommand.get()),
        },
    );
    const output = [], steps = {}, diagnostics = [];
    const onEvent = event => {
        for (const kind of ["resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"]) {
            const data = event[kind];
            if (!data) continue;
            const step = steps[data.metadata.urn] ??= { ops: [], result: null, diff: {}, failed: false };
            if (kind === "resourcePreEvent") step.ops.push(data.metadata.op);
            if (kind === "resOutputsEvent") step.result = data.metadata.op;
            step.failed ||= kind === "resOpFailedEvent";
            for (const [path, change] of Object.entries(data.metadata.detailedDiff ?? {})) step.diff[path] = change.diffKind;
        }
        if (event.diagnosticEvent) {
            const { severity, urn, message } = event.diagnosticEvent;
            diagnostics.push({ severity, urn: urn ?? "", message });
        }
    };
    const camelCase = name => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    const options = Object.fromEntries(Object.entries(request.options).map(([name, value]) => [camelCase(name), value]));
    const answer = { ok: true, error: "", steps, diagnostics };
    try {
        const result = await stack[request.operation]({ ...options, onEvent, onOutput: text => output.push(text) });
        if (request.operation === "up") answer.outputs = result.outputs;
    } catch (error) {
        Object.assign(answer, { ok: false, error: String(error) });
    }
    return { ...answer, text: output.join("") };
}

function say(answer) {
    fs.writeSync(answers, JSON.stringify(answer) + "\n");
}

async function main() {
    say({ sdk });
    for await (const line of readline.createInterface({ input: process.stdin })) {
        say(await run(JSON.parse(line)).catch(error => ({
            ok: false, error: String(error.stack), text: "", steps: {}, diagnostics: [],
        })));
    }
    process.exit(0);
}

main();
