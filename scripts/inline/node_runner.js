// Runs `up` or `preview` of an ordinary Node.js Pulumi program without the Node.js language host.
//
// The program runs inside this process, as the inline program of a Pulumi Automation API stack. Everything else is as
// with the `pulumi` command: the project is the current folder, and the engine is the `pulumi` on PATH. Other commands
// (`pulumi stack output`, `pulumi destroy`) need no language host and work on the same stack.
//
// Usage: node node_runner.js [--stack NAME] [--expect-no-changes] up|preview PROGRAM
// PROGRAM is the program's main file in JavaScript; what it exports are the stack's outputs.

"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { parseArgs } = require("node:util");

const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
        stack: { type: "string", default: "demo" },
        "expect-no-changes": { type: "boolean", default: false },
    },
});
const [operation, program] = positionals;
if (!["up", "preview"].includes(operation) || !program) {
    console.error("usage: node node_runner.js [--stack NAME] [--expect-no-changes] up|preview PROGRAM");
    process.exit(2);
}
const main = path.resolve(program);
// The program and this runner must share one @pulumi/pulumi: it holds the connection to the engine.
const requireAsProgram = createRequire(main);
const automation = requireAsProgram("@pulumi/pulumi/automation");

async function run() {
    const project = /^name: *(\S+)/m.exec(fs.readFileSync("Pulumi.yaml", "utf8"));
    if (!project) throw new Error("Pulumi.yaml has no name");
    const stack = await automation.LocalWorkspace.createOrSelectStack(
        { stackName: options.stack, projectName: project[1], program: async () => requireAsProgram(main) },
        { workDir: "." },
    );
    await stack[operation]({
        onOutput: (text) => process.stdout.write(text),
        onError: (text) => process.stderr.write(text),
        expectNoChanges: options["expect-no-changes"],
    });
}

run().catch((error) => {
    // The engine has already printed what is wrong with the stack.
    if (!(error instanceof automation.CommandError)) console.error(error);
    process.exitCode = 1;
});
