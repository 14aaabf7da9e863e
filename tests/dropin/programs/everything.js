// What programs for the official Node.js SDK do with tokens: every input, every type of provider argument, options.
"use strict";

const pulumi = require("@pulumi/pulumi");
const databricks = require("@pulumi/databricks");

class Team extends pulumi.ComponentResource {
    constructor(name, options) {
        super("example:index:Team", name, {}, options);
        this.token = new databricks.Token(`${name}-token`, { comment: "of a component" }, { parent: this });
        this.registerOutputs({});
    }
}

function commentAll({ type, props, opts }) {
    if (type === "databricks:index/token:Token" && !props.comment) {
        return { props: { ...props, comment: "transformed" }, opts };
    }
}

module.exports = ({ workspaces: [first, second], got, adopted, phase }) => {
    const later = phase === 2;
    const token = new databricks.Token("my-databricks-token", { comment: "Token for accessing Databricks REST API" });
    const every = new databricks.Token("every", {
        comment: pulumi.secret("hidden comment"),
        lifetimeSeconds: 8640000,
        creationTime: 1,
        expiryTime: 2,
        tokenId: "stated",
        providerConfig: { workspaceId: first.workspace_id },
    });
    const provider = new databricks.Provider(later ? "another" : "other", {
        host: second.host,
        token: pulumi.secret(second.token),
        debugHeaders: true,
        rateLimit: pulumi.secret(50),
        httpTimeoutSeconds: 30,
        scopes: ["sql", pulumi.secret("all-apis")],
        skipVerify: pulumi.output(false),
    }, { aliases: [{ name: "other" }] });
    const other = new databricks.Token("in-other", { comment: "other" }, { provider });
    const bootstrapped = new databricks.Provider("bootstrapped", { host: first.host, token: token.tokenValue });
    new databricks.Token("by-token", { comment: pulumi.interpolate`made by ${token.tokenId}` }, { provider: bootstrapped });
    new Team("team", { providers: { databricks: provider } });
    const changed = later ? "after" : "before";
    new databricks.Token("ignored", { comment: changed }, { ignoreChanges: ["comment"] });
    new databricks.Token("replaced", { comment: changed });
    new databricks.Token(
        later ? "new-name" : "old-name",
        { comment: "renamed" },
        { aliases: [{ name: "old-name" }], customTimeouts: { create: "50s" } },
    );
    new databricks.Token("protected", { comment: "protected" }, { protect: true });
    if (!later) {
        new databricks.Token("retained", { comment: "retained" }, { retainOnDelete: true });
    }
    new databricks.Token("deleted-first", { comment: `deleted-first ${changed}` }, { deleteBeforeReplace: true });
    new databricks.Token(
        "replaced-on-changes",
        { comment: "replaced-on-changes", creationTime: later ? 2 : 1 },
        { replaceOnChanges: ["creationTime"] },
    );
    new databricks.Token("transformed", {}, { transformations: [commentAll] });
    new databricks.Token("adopted", { comment: "made elsewhere" }, { import: adopted });
    const found = databricks.Token.get("got", got);
    return {
        tokenId: token.tokenId,
        tokenValue: token.tokenValue,
        lifetimeSeconds: every.lifetimeSeconds,
        creationTime: every.creationTime,
        everyId: every.tokenId,
        workspace: other.providerConfig.workspaceId,
        got: found.comment,
    };
};
