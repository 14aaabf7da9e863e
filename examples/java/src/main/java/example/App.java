package example;

import com.pulumi.Context;
import com.pulumi.Pulumi;
import com.pulumi.databricks.Token;
import com.pulumi.databricks.TokenArgs;

/** A token that an ordinary `pulumi up` replaces in the last two weeks of its life. */
public final class App {
    private static final int DAY = 24 * 60 * 60;

    public static void main(String[] args) {
        Pulumi.run(App::stack);
    }

    private static void stack(Context ctx) {
        var token = new Token("ci", TokenArgs.builder()
            .comment("Token of the CI")
            .lifetimeSeconds(90 * DAY)
            .rotateBeforeSeconds(14 * DAY)
            .build());

        ctx.export("tokenId", token.tokenId());
        ctx.export("tokenExpiry", token.expiryTime());
        ctx.export("tokenValue", token.tokenValue());
    }
}
