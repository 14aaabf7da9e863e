// A token that an ordinary `pulumi up` replaces in the last two weeks of its life.
using System.Collections.Generic;
using Pulumi;
using Databricks = Pulumi.Databricks;

const int day = 24 * 60 * 60;

return await Deployment.RunAsync(() =>
{
    var token = new Databricks.Token("ci", new()
    {
        Comment = "Token of the CI",
        LifetimeSeconds = 90 * day,
        RotateBeforeSeconds = 14 * day,
    });

    return new Dictionary<string, object?>
    {
        ["tokenId"] = token.TokenId,
        ["tokenExpiry"] = token.ExpiryTime,
        // Pulumi keeps the value secret: encrypted in the state, hidden in the output.
        ["tokenValue"] = token.TokenValue,
    };
});
