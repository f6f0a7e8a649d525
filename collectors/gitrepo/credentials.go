package gitrepo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// httpAccess adds TLS and the way out for https, and the credentials, which go
// through the environment: a command line can be read by everybody on the
// machine. They are bound to the host of the configured URL.
func (g *gitRunner) httpAccess(cfg *Config, base string) {
	set := func(key, value string) {
		if value != "" {
			g.config = append(g.config, "http."+key+"="+value)
		}
	}
	set("sslCAInfo", cfg.CAFile)
	set("sslCert", cfg.ClientCertFile)
	set("sslKey", cfg.ClientKeyFile)
	set("proxy", cfg.Proxy)
	if cfg.InsecureSkipVerify {
		set("sslVerify", "false")
	}
	header := basicAuth(cfg)
	if header == "" {
		return
	}
	g.secrets = append(g.secrets, cfg.Password, cfg.Token, strings.TrimPrefix(header, "Basic "))
	g.env = append(g.env,
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http."+base+".extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: "+header)
}

// tokenUser stands for the user where only a token is given; forges ignore it.
const tokenUser = "x-access-token"

func basicAuth(cfg *Config) string {
	user, password := cfg.Username, cfg.Password
	if cfg.Token != "" {
		user, password = tokenUser, cfg.Token
	}
	if user == "" && password == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// sshEnv is how ssh is started: with no configuration, agent or key but the one
// that is given, and without a host that is not known.
func sshEnv(keyFile, knownHosts string) ([]string, error) {
	if knownHosts == "" {
		return nil, errors.New("ssh needs known_hosts_file: without it anybody can pose as the server")
	}
	args := []string{
		"ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "GlobalKnownHostsFile=/dev/null", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes",
		"-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "PermitLocalCommand=no", "-o", "ConnectTimeout=30",
	}
	for _, o := range []struct{ name, path string }{{"UserKnownHostsFile", knownHosts}, {"IdentityFile", keyFile}} {
		if o.path == "" {
			continue
		}
		if !filepath.IsAbs(o.path) || strings.ContainsAny(o.path, "\"\n") {
			return nil, fmt.Errorf("%s %q: want an absolute path without quotes", o.name, o.path)
		}
		args = append(args, "-o", o.name+`="`+o.path+`"`)
	}
	for i, a := range args {
		args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return []string{"GIT_SSH_COMMAND=" + strings.Join(args, " "), "GIT_SSH_VARIANT=ssh"}, nil
}
