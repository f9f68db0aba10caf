package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"quire/internal/problem"
)

const azureScope = "https://storage.azure.com/"

// AzureLogin is who asks for tokens: an application with a secret, a pod with a
// federated token, or, when neither is set, the identity of the machine.
type AzureLogin struct {
	// TenantID and ClientID name the application. ClientID alone names one of the
	// machine's identities.
	TenantID string
	ClientID string
	// ClientSecret is the application's secret.
	ClientSecret string
	// FederatedTokenFile is the path of a token that stands for the secret.
	FederatedTokenFile string
	// Authority is where tokens are asked for; empty means
	// https://login.microsoftonline.com.
	Authority string
	// MachineURL is where the machine's identity answers; empty means Azure's
	// 169.254.169.254.
	MachineURL string
}

// Token returns a function for Azure.Token that keeps a token until shortly
// before it ends. It may be called from many goroutines at once.
func (l AzureLogin) Token() func(context.Context) (string, error) {
	source := oauth2.ReuseTokenSource(nil, azureSource{l})
	return func(context.Context) (string, error) {
		token, err := source.Token()
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}
}

type azureSource struct{ login AzureLogin }

// Token implements oauth2.TokenSource. A token serves more than the request that
// asks for it, so it has a time limit of its own.
func (s azureSource) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	l := s.login
	if l.TenantID == "" || l.ClientID == "" || l.ClientSecret == "" && l.FederatedTokenFile == "" {
		return l.machineToken(ctx)
	}
	cfg := clientcredentials.Config{
		ClientID:     l.ClientID,
		ClientSecret: l.ClientSecret,
		TokenURL:     orString(l.Authority, "https://login.microsoftonline.com") + "/" + url.PathEscape(l.TenantID) + "/oauth2/v2.0/token",
		Scopes:       []string{azureScope + ".default"},
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	if l.ClientSecret == "" {
		assertion, err := os.ReadFile(l.FederatedTokenFile)
		if err != nil {
			return nil, err
		}
		cfg.EndpointParams = url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {string(assertion)},
		}
	}
	return cfg.Token(ctx)
}

func (l AzureLogin) machineToken(ctx context.Context) (*oauth2.Token, error) {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {azureScope}}
	if l.ClientID != "" {
		q.Set("client_id", l.ClientID)
	}
	u, err := url.Parse(orString(l.MachineURL, "http://169.254.169.254") + "/metadata/identity/oauth2/token?" + q.Encode())
	if err != nil {
		return nil, problem.New(problem.Invalid, "the address of the machine's identity cannot be understood")
	}
	calls := newCaller(Config{Attempts: 3, Stall: 3 * time.Second})
	_, body, err := calls.small(ctx, call{method: http.MethodGet, url: u, header: http.Header{"Metadata": {"true"}}})
	if err != nil {
		return nil, problem.WrapAs(problem.Denied, err, "there are no credentials in the environment, and the machine has no identity")
	}
	var out struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &out); err != nil || out.AccessToken == "" {
		return nil, problem.New(problem.Denied, "the answer of the machine's identity cannot be read")
	}
	seconds, err := out.ExpiresIn.Int64()
	if err != nil {
		seconds = 0
	}
	return &oauth2.Token{AccessToken: out.AccessToken, Expiry: time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}
