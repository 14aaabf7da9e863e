"""Every resource option that an existing program may use. `phase` 2 is the same program after its author changed it."""

from builtins import arguments

import pulumi
import pulumi_databricks as databricks

second = arguments["phase"] == 2


class Team(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("example:index:Team", name)
        self.token = databricks.Token(
            f"{name}-token", comment="of a component", opts=pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({"token_id": self.token.token_id})


def comment_all(args):
    if args.type_ == "databricks:index/token:Token" and not args.props.get("comment"):
        return pulumi.ResourceTransformationResult(args.props | {"comment": "transformed"}, args.opts)
    return None


def options(**stated):
    return pulumi.ResourceOptions(**stated)


changed = "after" if second else "before"
team = Team("team")

# The provider and a token under other names than before.
provider = databricks.Provider(
    "new-provider" if second else "old-provider",
    host=arguments["host"],
    token=arguments["token"],
    opts=options(aliases=[pulumi.Alias(name="old-provider")] if second else None),
)
databricks.Token(
    "new-name" if second else "old-name",
    comment="renamed",
    opts=options(provider=provider, aliases=[pulumi.Alias(name="old-name")] if second else None),
)
# A token that moves into a component.
databricks.Token(
    "moved",
    comment="moved",
    opts=options(parent=team, aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]) if second else None,
)
databricks.Token("ignored", comment=changed, opts=options(ignore_changes=["comment"]))
databricks.Token("protected", comment="protected", opts=options(protect=True))
if not second:
    databricks.Token("retained", comment="retained", opts=options(retain_on_delete=True))
databricks.Token("replaced", comment=f"replaced {changed}")
databricks.Token("deleted-first", comment=f"deleted-first {changed}", opts=options(delete_before_replace=True))
databricks.Token(
    "replaced-on-changes",
    comment="replaced-on-changes",
    creation_time=2 if second else 1,
    opts=options(replace_on_changes=["creationTime"]),
)
databricks.Token("transformed", opts=options(transformations=[comment_all]))
databricks.Token("adopted", comment="made elsewhere", opts=options(import_=arguments["adopted"]))
databricks.Token("patient", comment="patient", opts=options(custom_timeouts=pulumi.CustomTimeouts(create="50s", delete="50s")))
databricks.Token("additional", comment="additional", opts=options(additional_secret_outputs=["comment"]))
databricks.Token("after", comment="after", opts=options(depends_on=[team]))
got = databricks.Token.get("got", arguments["got"])

pulumi.export("got", got.comment)
pulumi.export("got_expiry", got.expiry_time)
