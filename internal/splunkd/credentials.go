package splunkd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"aiwatch/internal/conf"
)

// App is the add-on's id, to which its secrets belong. Realm sets them apart
// from other secrets in storage/passwords.
const (
	App   = "TA-aiwatch"
	Realm = "aiwatch"
)

// ErrNoCredential says that there is no entry of that name.
var ErrNoCredential = errors.New("storage/passwords has no such entry")

// nameRule keeps names free of what splunkd escapes in an entry's id.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// CheckName refuses what can't be the name of an entry.
func CheckName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("%q can't be the name of a credential: write letters, digits, . _ and -, at most 100, a letter or digit first", name)
	}
	return nil
}

// collection is the path of storage/passwords, as the add-on's owner sees it.
var collection = []string{"servicesNS", "nobody", App, "storage", "passwords"}

func entry(name string) []string {
	return append(slices.Clone(collection), Realm+":"+name+":")
}

type entriesJSON struct {
	Entry []struct {
		Content struct {
			Realm    string `json:"realm"`
			Username string `json:"username"`
			Password string `json:"clear_password"`
		} `json:"content"`
	} `json:"entry"`
}

// Credential returns the secret under name.
func (c *Client) Credential(ctx context.Context, name string) (conf.Secret, error) {
	if err := CheckName(name); err != nil {
		return conf.Secret{}, err
	}
	var answer entriesJSON
	if err := c.call(ctx, http.MethodGet, entry(name), nil, &answer); err != nil {
		return conf.Secret{}, credentialError("read", name, err)
	}
	for _, e := range answer.Entry {
		if e.Content.Realm == Realm && e.Content.Username == name {
			return conf.NewSecret(e.Content.Password), nil
		}
	}
	return conf.Secret{}, credentialError("read", name, ErrNoCredential)
}

// SetCredential stores a secret under name, in place of the one before.
func (c *Client) SetCredential(ctx context.Context, name string, secret conf.Secret) error {
	if err := CheckName(name); err != nil {
		return err
	}
	password := url.Values{"password": {secret.Reveal()}}
	form := url.Values{"name": {name}, "realm": {Realm}, "password": password["password"]}
	err := c.call(ctx, http.MethodPost, collection, form, nil)
	if isStatus(err, http.StatusConflict) {
		err = c.call(ctx, http.MethodPost, entry(name), password, nil)
	}
	if err != nil {
		return credentialError("store", name, err)
	}
	return nil
}

// DeleteCredential removes the entry under name.
func (c *Client) DeleteCredential(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodDelete, entry(name), nil, nil); err != nil {
		return credentialError("delete", name, err)
	}
	return nil
}

// Credentials returns the names of all entries, in their order.
func (c *Client) Credentials(ctx context.Context) ([]string, error) {
	var answer entriesJSON
	if err := c.call(ctx, http.MethodGet, collection, nil, &answer); err != nil {
		return nil, fmt.Errorf("list the credentials: %w", err)
	}
	var names []string
	for _, e := range answer.Entry {
		if e.Content.Realm == Realm {
			names = append(names, e.Content.Username)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func credentialError(doing, name string, err error) error {
	if isStatus(err, http.StatusNotFound) {
		err = ErrNoCredential
	}
	return fmt.Errorf("%s the credential %s: %w", doing, name, err)
}
