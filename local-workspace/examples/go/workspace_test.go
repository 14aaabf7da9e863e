package localworkspace

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
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
	// No profile of the user's is read.
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

func TestTokenManagement(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	admin := clientOf(t, &databricks.Config{Host: workspace.Host, Token: workspace.Token})
	robot := clientOf(t, &databricks.Config{
		Host: workspace.Host, ClientID: workspace.ClientID, ClientSecret: workspace.ClientSecret,
	})
	made := must[*settings.CreateTokenResponse](t)(robot.Tokens.Create(ctx, settings.CreateTokenRequest{Comment: "robot's"}))
	id := made.TokenInfo.TokenId

	management := admin.TokenManagement
	found := must[*settings.GetTokenResponse](t)(management.Get(ctx, settings.GetTokenManagementRequest{TokenId: id})).TokenInfo
	if found.CreatedByUsername != workspace.ClientID || found.Comment != "robot's" {
		t.Fatalf("found: %+v", found)
	}
	by := settings.ListTokenManagementRequest{CreatedByUsername: workspace.ClientID}
	if listed := must[[]settings.TokenInfo](t)(management.ListAll(ctx, by)); len(listed) != 1 || listed[0].TokenId != id {
		t.Fatalf("listed: %+v", listed)
	}
	renamed := must[*settings.TokenInfo](t)(management.UpdateTokenManagement(ctx, settings.UpdateTokenManagementRequest{
		TokenId: id, Token: settings.TokenInfo{Comment: "renamed"}, UpdateMask: *fieldmask.New([]string{"comment"}),
	}))
	if renamed.Comment != "renamed" {
		t.Fatalf("renamed: %+v", renamed)
	}
	levels := must[*settings.GetTokenPermissionLevelsResponse](t)(management.GetPermissionLevels(ctx)).PermissionLevels
	if len(levels) != 1 || levels[0].PermissionLevel != settings.TokenPermissionLevelCanUse {
		t.Fatalf("levels: %+v", levels)
	}
	if err := management.Delete(ctx, settings.DeleteTokenManagementRequest{TokenId: id}); err != nil {
		t.Fatal(err)
	}
	revoked := clientOf(t, &databricks.Config{Host: workspace.Host, Token: made.TokenValue})
	if _, err := revoked.CurrentUser.Me(ctx, iam.MeRequest{}); !errors.Is(err, apierr.ErrPermissionDenied) {
		t.Fatalf("a revoked token was answered with %v", err)
	}
}

// signed is an id token of an issuer that the workspace knows only by a policy.
func signed(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	part := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	token := part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(token))
	signature := must[[]byte](t)(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]))
	return token + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestFederation(t *testing.T) {
	ctx, workspace := context.Background(), Start(t)
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	keys := must[[]byte](t)(json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA",
		"n":   base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e":   base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}}))
	// An account admin makes the policy.
	boss := workspace.Control("service-principals", map[string]any{"application_id": "boss", "account_admin": true})
	robot := workspace.Control("service-principals", map[string]any{"application_id": "robot"})
	workspace.Control("host-metadata", map[string]any{"host_type": "account"})
	t.Setenv("HOME", t.TempDir())
	account := must[*databricks.AccountClient](t)(databricks.NewAccountClient(&databricks.Config{
		Host:         workspace.Host,
		AccountID:    workspace.Control("state", nil)["account_id"].(string),
		ClientID:     "boss",
		ClientSecret: boss["client_secret"].(string),
	}))
	policy := must[*oauth2.FederationPolicy](t)(account.ServicePrincipalFederationPolicy.Create(ctx,
		oauth2.CreateServicePrincipalFederationPolicyRequest{
			ServicePrincipalId: int64(robot["id"].(float64)),
			Policy: oauth2.FederationPolicy{OidcPolicy: &oauth2.OidcFederationPolicy{
				Issuer: "https://idp.example.com", Subject: "job:1", Audiences: []string{"databricks"}, JwksJson: string(keys),
			}},
		}))
	if policy.PolicyId == "" || policy.OidcPolicy.Subject != "job:1" {
		t.Fatalf("made: %+v", policy)
	}
	workspace.Control("host-metadata", map[string]any{})

	signIn := func(key *rsa.PrivateKey) (*iam.User, error) {
		t.Setenv("DATABRICKS_OIDC_TOKEN", signed(t, key, map[string]any{
			"iss": "https://idp.example.com", "sub": "job:1", "aud": "databricks", "exp": time.Now().Add(time.Hour).Unix(),
		}))
		client := clientOf(t, &databricks.Config{Host: workspace.Host, ClientID: "robot", AuthType: "env-oidc"})
		return client.CurrentUser.Me(ctx, iam.MeRequest{})
	}
	if me := must[*iam.User](t)(signIn(key)); me.UserName != "robot" {
		t.Fatalf("signed in as %s", me.UserName)
	}
	if _, err := signIn(must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))); err == nil {
		t.Fatal("a token that somebody else signed was accepted")
	}
}
