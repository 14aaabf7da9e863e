// A token that an ordinary `pulumi up` replaces in the last two weeks of its life.
import * as databricks from "@pulumi/databricks";

const day = 24 * 60 * 60;

const token = new databricks.Token("ci", {
    comment: "Token of the CI",
    lifetimeSeconds: 90 * day,
    rotateBeforeSeconds: 14 * day,
});

export const tokenId = token.tokenId;
export const tokenExpiry = token.expiryTime;
// Pulumi keeps the value secret: encrypted in the state, hidden in the output.
export const tokenValue = token.tokenValue;
