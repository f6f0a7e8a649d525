package conf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 64 << 10

// redacted is what a Secret looks like wherever it is printed.
const redacted = "[secret]"

// A Secret is a value that must not be seen. However it is printed, encoded or
// logged, also as a part of something else, it shows as [secret].
type Secret struct {
	// A pointer, because fmt prints what unexported fields hold without asking
	// their methods, and of a pointer inside a struct it prints the address.
	value *string
}

// NewSecret wraps a value that must not be seen.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns [secret].
func (s Secret) String() string { return redacted }

// Format writes [secret], whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns [secret], for JSON and whatever else encodes text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns [secret].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// The ways in which the secret X can be named, by what stands behind X in the
// key.
const (
	fromFile       = "_file"
	fromEnv        = "_env"
	fromCredential = "_credential"
)

var secretWays = []string{fromFile, fromEnv, fromCredential}

// Secret fetches the secret of that name: from the file of NAME_file, the
// variable of NAME_env or the storage/passwords entry of NAME_credential. It is
// zero when none of them is set. It is fetched anew with each call, so that a
// rotated secret is found.
//
// Errors are Problems.
func (s *Settings) Secret(ctx context.Context, name string) (Secret, error) {
	if _, d := s.kind.find(name); d.Type != SecretType {
		panic(fmt.Sprintf("conf: %s of [%s] is no secret", name, s.kind))
	}
	for _, way := range secretWays {
		v, ok := s.values[name+way]
		if !ok || !v.set {
			continue
		}
		var value string
		var err error
		switch way {
		case fromFile:
			path := v.parsed.(string)
			value, err = readSecret(path, refusedModes(path, s.options.getenv("CREDENTIALS_DIRECTORY")))
		case fromEnv:
			if value = s.options.getenv(v.parsed.(string)); value == "" {
				err = &refusal{fmt.Sprintf("the variable %s is not set", quote(v.parsed.(string))), "set it where aiwatch is started"}
			}
		case fromCredential:
			value, err = s.readCredential(ctx, v.parsed.(string))
		}
		if err != nil {
			return Secret{}, Problems{s.problemOf(v, err)}
		}
		return NewSecret(value), nil
	}
	return Secret{}, nil
}

// refusedModes are the bits that a secret's file must not have. A credential that
// systemd hands to a service is root's, and since systemd 254 the service's user
// reads it by an access list, whose mask stands where the group's bits are: it
// shows as 0440 although no group may read it.
func refusedModes(path, credentials string) os.FileMode {
	if credentials != "" && filepath.Dir(path) == filepath.Clean(credentials) {
		return 0o026
	}
	return 0o066
}

// readSecret reads a secret's file: its contents without the line break at the
// end.
func readSecret(path string, refused os.FileMode) (string, error) {
	// Asked before it is opened, because opening a pipe would wait for a writer.
	info, err := os.Stat(path)
	if err != nil {
		return "", unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return "", &refusal{fmt.Sprintf("%s is not a regular file", quote(path)), "name a file that holds the secret and nothing else"}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return "", unreadable(err)
	}
	// Windows guards files by access lists, of which the mode tells nothing.
	if mode := info.Mode().Perm(); mode&refused != 0 && runtime.GOOS != "windows" {
		return "", &refusal{fmt.Sprintf("group or others can read or write %s (mode %04o)", quote(path), mode), "chmod 600 it, owned by the user that runs aiwatch"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", unreadable(err)
	}
	value := strings.TrimRight(string(data), "\r\n")
	switch {
	case value == "":
		return "", &refusal{fmt.Sprintf("%s is empty", quote(path)), "write the secret into it"}
	case len(data) > maxSecret:
		return "", &refusal{fmt.Sprintf("%s is larger than %d KiB", quote(path), maxSecret>>10), "name a file that holds the secret and nothing else"}
	case strings.ContainsAny(value, "\r\n\x00"):
		return "", &refusal{fmt.Sprintf("%s holds more than one line", quote(path)), "name a file that holds the secret and nothing else"}
	}
	return value, nil
}

func unreadable(err error) error {
	return &refusal{err.Error(), "give the path of a file that the user that runs aiwatch can read"}
}

func (s *Settings) readCredential(ctx context.Context, name string) (string, error) {
	if s.options.credential == nil {
		return "", &refusal{"Splunk's storage/passwords can be read by a modular input only", "outside Splunk name a file or a variable instead"}
	}
	value, err := s.options.credential(ctx, name)
	if err == nil && value == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", &refusal{fmt.Sprintf("read the credential %s of storage/passwords: %v", quote(name), err), fmt.Sprintf("make it with aiwatch credentials set %s", clean(name))}
	}
	return value, nil
}
