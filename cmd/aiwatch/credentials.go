package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"aiwatch/internal/conf"
	"aiwatch/internal/splunkd"
)

// maxSecret bounds a secret, in bytes.
const maxSecret = 64 << 10

// credentialsCommand keeps the add-on's secrets in splunkd.
func (p *program) credentialsCommand() *cli.Command {
	shared := []cli.Flag{
		&cli.StringFlag{Name: "splunkd", Value: splunkd.DefaultURI, EnvVars: []string{"AIWATCH_SPLUNKD"}, Usage: "splunkd's management `URL`"},
		&cli.StringFlag{Name: "user", Usage: "log in as `NAME`; the password is asked for, or read from --password-file"},
		&cli.PathFlag{Name: "password-file", Usage: "`FILE` with the password of --user, readable by its owner alone"},
		&cli.PathFlag{Name: "token-file", Usage: "`FILE` with one of Splunk's authentication tokens, readable by its owner alone"},
		&cli.PathFlag{Name: "session-file", Usage: "`FILE` with a session key, readable by its owner alone"},
		&cli.PathFlag{Name: "ca-file", Usage: "`FILE` with the authorities that splunkd's certificate is verified against; default: those of the Splunk in SPLUNK_HOME, else the system's"},
	}
	return &cli.Command{
		Name:  "credentials",
		Usage: "keep the add-on's secrets in splunkd (storage/passwords)",
		Description: "An input of the add-on names a secret, such as token_credential = mlflow-prod.\n" +
			"The secret itself is an entry of that name in Splunk's storage/passwords, in the\n" +
			"add-on TA-aiwatch and the realm aiwatch. It is read from standard input or a file\n" +
			"and never stands in an argument.\n\n" +
			"splunkd's certificate is verified. On Splunk Cloud there is no shell: the page\n" +
			"docs/splunk-addon.md has the same as calls of Splunk's REST.",
		Action: subcommandNeeded,
		Subcommands: []*cli.Command{
			{
				Name: "set", Usage: "store a secret, in place of the one before", ArgsUsage: "NAME",
				Flags: append([]cli.Flag{
					&cli.PathFlag{Name: "secret-file", Usage: "`FILE` with the secret; default: standard input"},
				}, shared...),
				Action: p.setCredential,
			},
			{
				Name: "list", Usage: "the names of what is stored", Flags: append([]cli.Flag{jsonFlag}, shared...),
				Action: p.listCredentials,
			},
			{
				Name: "delete", Usage: "remove a secret", ArgsUsage: "NAME", Flags: shared,
				Action: p.deleteCredential,
			},
		},
	}
}

func (p *program) setCredential(c *cli.Context) error {
	name, err := credentialName(c)
	if err != nil {
		return err
	}
	secret, err := p.newSecret(c, name)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	client, err := p.splunkd(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.SetCredential(c.Context, name, secret); err != nil {
		return credentialsError(err)
	}
	fmt.Fprintf(p.stderr, "stored; an input uses it by X_credential = %s\n", name)
	return nil
}

func (p *program) listCredentials(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	client, err := p.splunkd(c)
	if err != nil {
		return err
	}
	defer client.Close()
	names, err := client.Credentials(c.Context)
	if err != nil {
		return credentialsError(err)
	}
	if c.Bool(jsonFlag.Name) {
		return json.NewEncoder(p.stdout).Encode(append([]string{}, names...))
	}
	for _, name := range names {
		fmt.Fprintln(p.stdout, printable(name))
	}
	return nil
}

func (p *program) deleteCredential(c *cli.Context) error {
	name, err := credentialName(c)
	if err != nil {
		return err
	}
	client, err := p.splunkd(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.DeleteCredential(c.Context, name); err != nil {
		return credentialsError(err)
	}
	return nil
}

// credentialName returns the one argument.
func credentialName(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", exitWith(exitUsage, fmt.Errorf("credentials %s takes one NAME and flags before it; a secret is never an argument", c.Command.Name))
	}
	if err := splunkd.CheckName(c.Args().First()); err != nil {
		return "", exitWith(exitUsage, err)
	}
	return c.Args().First(), nil
}

// newSecret reads the secret to store.
func (p *program) newSecret(c *cli.Context, name string) (conf.Secret, error) {
	if path := c.Path("secret-file"); path != "" {
		file, err := os.Open(path)
		if err != nil {
			return conf.Secret{}, fmt.Errorf("read the secret: %w", err)
		}
		defer file.Close()
		return readSecret(file, path)
	}
	return p.askSecret("secret of " + name)
}

// askSecret reads a secret from standard input, unseen where that is a
// terminal.
func (p *program) askSecret(what string) (conf.Secret, error) {
	file, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return readSecret(p.stdin, "standard input")
	}
	fmt.Fprintf(p.stderr, "%s: ", what)
	typed, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(p.stderr)
	if err != nil {
		return conf.Secret{}, fmt.Errorf("read the %s: %w", what, err)
	}
	return readSecret(strings.NewReader(string(typed)), "what was typed")
}

// readSecret reads one line.
func readSecret(r io.Reader, from string) (conf.Secret, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return conf.Secret{}, fmt.Errorf("read the secret from %s: %w", from, err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case value == "":
		return conf.Secret{}, fmt.Errorf("%s holds no secret", from)
	case len(text) > maxSecret:
		return conf.Secret{}, fmt.Errorf("%s holds more than %d KiB", from, maxSecret>>10)
	case strings.ContainsAny(value, "\r\n\x00"):
		return conf.Secret{}, fmt.Errorf("%s holds more than one line", from)
	}
	return conf.NewSecret(value), nil
}

// splunkd returns a client that is logged in as the flags say.
func (p *program) splunkd(c *cli.Context) (*splunkd.Client, error) {
	cfg := splunkd.Config{URI: c.String("splunkd"), CAFile: c.Path("ca-file")}
	if cfg.CAFile == "" {
		cfg.CAFile = splunkd.CAFile(p.getenv("SPLUNK_HOME"))
	}
	var ways int
	for _, flag := range []string{"user", "token-file", "session-file"} {
		if c.IsSet(flag) {
			ways++
		}
	}
	if ways != 1 {
		return nil, exitWith(exitUsage, errors.New("say who asks splunkd, in one way: --user NAME, --token-file FILE or --session-file FILE"))
	}
	var err error
	switch {
	case c.IsSet("token-file"):
		cfg.Token, err = ownSecret(c.Path("token-file"))
	case c.IsSet("session-file"):
		cfg.Session, err = ownSecret(c.Path("session-file"))
	}
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	client, err := splunkd.New(cfg)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	if c.IsSet("user") {
		if err := p.login(c.Context, client, c.String("user"), c.Path("password-file"), c.Command.Name == "set" && c.Path("secret-file") == ""); err != nil {
			client.Close()
			return nil, err
		}
	}
	return client, nil
}

// login opens a session. Taken says that standard input already gave something
// else.
func (p *program) login(ctx context.Context, client *splunkd.Client, user, passwordFile string, taken bool) error {
	var password conf.Secret
	var err error
	switch file, ok := p.stdin.(*os.File); {
	case passwordFile != "":
		password, err = ownSecret(passwordFile)
	case taken && (!ok || !term.IsTerminal(int(file.Fd()))):
		err = errors.New("standard input gives the secret: give the password by --password-file, or the secret by --secret-file")
	default:
		password, err = p.askSecret("password of " + user)
	}
	if err != nil {
		return exitWith(exitUsage, err)
	}
	if err := client.Login(ctx, user, password); err != nil {
		return credentialsError(err)
	}
	return nil
}

// ownSecret reads a secret from a file that others can't read.
func ownSecret(path string) (conf.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return conf.Secret{}, fmt.Errorf("read a secret: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return conf.Secret{}, fmt.Errorf("read a secret: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return conf.Secret{}, fmt.Errorf("%s can be read by others (%s); chmod 600 it", path, info.Mode().Perm())
	}
	return readSecret(file, path)
}

// credentialsError gives what splunkd says its exit code.
func credentialsError(err error) error {
	if errors.Is(err, splunkd.ErrNoCredential) || errors.Is(err, splunkd.ErrRefused) {
		return err
	}
	return exitWith(exitUnavailable, err)
}
