package localworkspace

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/common/types/fieldmask"
	"github.com/databricks/databricks-sdk-go/service/iam"
	"github.com/databricks/databricks-sdk-go/service/oauth2"
	"github.com/databricks/databricks-sdk-go/service/settings"
)

func clientOf(t *testing.T, config *databricks.Config) *databricks.WorkspaceClient {
	t.Helper()
	// Nothing of the user's: neither variables nor a profile.
	t.Setenv("HOME", t.TempDir())
	client, err := databricks.NewWorkspaceClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestATokenUntilItExpires(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	admin := clientOf(t, &databricks.Config{Host: workspace.Host, Token: workspace.Token})
	made := must[*settings.CreateTokenResponse](t)(admin.Tokens.Create(ctx, settings.CreateTokenRequest{
		Comment: "job", LifetimeSeconds: 3600, Scopes: []string{"all-apis"},
	}))
	minted := clientOf(t, &databricks.Config{Host: workspace.Host, Token: made.TokenValue})
	if me := must[*iam.User](t)(minted.CurrentUser.Me(ctx, iam.MeRequest{})); me.UserName != "admin@example.com" {
		t.Fatalf("signed in as %s", me.UserName)
	}
	must[*settings.UpdateTokenResponse](t)(admin.Tokens.Update(ctx, settings.UpdateTokenRequest{
		TokenId:    made.TokenInfo.TokenId,
		Token:      settings.PublicTokenInfo{Comment: "renamed"},
		UpdateMask: *fieldmask.New([]string{"comment"}),
	}))
	listed := must[[]settings.PublicTokenInfo](t)(admin.Tokens.ListAll(ctx))
	if len(listed) != 1 || listed[0].Comment != "renamed" {
		t.Fatalf("listed: %+v", listed)
	}
	workspace.Advance(2 * time.Hour)
	if _, err := minted.CurrentUser.Me(ctx, iam.MeRequest{}); !errors.Is(err, apierr.ErrPermissionDenied) {
		t.Fatalf("an expired token was answered with %v", err)
	}
	err := admin.Tokens.Delete(ctx, settings.RevokeTokenRequest{TokenId: made.TokenInfo.TokenId})
	if !errors.Is(err, apierr.ErrResourceDoesNotExist) {
		t.Fatalf("the deletion of an expired token was answered with %v", err)
	}
}

func TestThrottlingIsWaitedFor(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	workspace.Fault("/token/create", map[string]any{"status": 429, "retry_after": "1"})
	admin := clientOf(t, &databricks.Config{Host: workspace.Host, Token: workspace.Token})
	must[*settings.CreateTokenResponse](t)(admin.Tokens.Create(ctx, settings.CreateTokenRequest{LifetimeSeconds: 60}))
	if made := workspace.Control("state", nil)["tokens"].([]any); len(made) != 1 {
		t.Fatalf("%d tokens", len(made))
	}
}

func TestServicePrincipals(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	robot := clientOf(t, &databricks.Config{
		Host: workspace.Host, ClientID: workspace.ClientID, ClientSecret: workspace.ClientSecret,
	})
	if me := must[*iam.User](t)(robot.CurrentUser.Me(ctx, iam.MeRequest{})); me.UserName != workspace.ClientID {
		t.Fatalf("signed in as %s", me.UserName)
	}
	if _, err := robot.TokenManagement.ListAll(ctx, settings.ListTokenManagementRequest{}); !errors.Is(err, apierr.ErrPermissionDenied) {
		t.Fatalf("the list of an admin was answered with %v", err)
	}

	admin := clientOf(t, &databricks.Config{Host: workspace.Host, Token: workspace.Token})
	made := must[*iam.ServicePrincipal](t)(admin.ServicePrincipals.Create(ctx, iam.ServicePrincipal{DisplayName: "new", Active: true}))
	found := must[[]iam.ServicePrincipal](t)(admin.ServicePrincipals.ListAll(ctx, iam.ListServicePrincipalsRequest{
		Filter: `applicationId eq "` + made.ApplicationId + `"`,
	}))
	if len(found) != 1 || found[0].Id != made.Id {
		t.Fatalf("found: %+v", found)
	}
	secret := must[*oauth2.CreateServicePrincipalSecretResponse](t)(admin.ServicePrincipalSecretsProxy.Create(ctx,
		oauth2.CreateServicePrincipalSecretRequest{ServicePrincipalId: made.Id, Lifetime: "3600s"}))
	signedIn := clientOf(t, &databricks.Config{Host: workspace.Host, ClientID: made.ApplicationId, ClientSecret: secret.Secret})
	must[*iam.User](t)(signedIn.CurrentUser.Me(ctx, iam.MeRequest{}))

	obo := must[*settings.CreateOboTokenResponse](t)(admin.TokenManagement.CreateOboToken(ctx, settings.CreateOboTokenRequest{
		ApplicationId: made.ApplicationId, LifetimeSeconds: 60,
	}))
	all := must[[]settings.TokenInfo](t)(admin.TokenManagement.ListAll(ctx, settings.ListTokenManagementRequest{}))
	if len(all) != 1 || all[0].TokenId != obo.TokenInfo.TokenId {
		t.Fatalf("listed: %+v", all)
	}
	if err := admin.ServicePrincipals.Delete(ctx, iam.DeleteServicePrincipalRequest{Id: made.Id}); err != nil {
		t.Fatal(err)
	}
	_, err := admin.ServicePrincipals.Get(ctx, iam.GetServicePrincipalRequest{Id: made.Id})
	if !errors.Is(err, apierr.ErrNotFound) {
		t.Fatalf("a deleted principal was answered with %v", err)
	}
}

func TestTheConfigurationOfTheWorkspace(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	admin := clientOf(t, &databricks.Config{Host: workspace.Host, Token: workspace.Token})
	if err := admin.WorkspaceConf.SetStatus(ctx, settings.WorkspaceConf{"maxTokenLifetimeDays": "1"}); err != nil {
		t.Fatal(err)
	}
	_, err := admin.Tokens.Create(ctx, settings.CreateTokenRequest{LifetimeSeconds: 2 * 86400})
	if !errors.Is(err, apierr.ErrInvalidParameterValue) {
		t.Fatalf("too long a lifetime was answered with %v", err)
	}
	values := must[*map[string]string](t)(admin.WorkspaceConf.GetStatus(ctx, settings.GetStatusRequest{Keys: "maxTokenLifetimeDays"}))
	if (*values)["maxTokenLifetimeDays"] != "1" {
		t.Fatalf("%v", *values)
	}
}
