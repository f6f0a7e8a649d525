package main

import (
	"context"
	"log/slog"

	"aiwatch/forwarder"
	"aiwatch/forwarder/hec"
	"aiwatch/internal/conf"
)

// destination makes the one destination of a configuration.
func (p *program) destination(ctx context.Context, config *conf.Config, log *slog.Logger) (forwarder.Destination, error) {
	s, err := config.Destination()
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	if s.Kind() == "scs" {
		return p.toSCS(ctx, s, log)
	}
	token, err := secret(ctx, s, "token")
	if err != nil {
		return nil, err
	}
	if s.Bool("insecure_skip_verify") {
		log.Warn("the destination's certificate is not verified: whoever is in between can read the token and the events; remove insecure_skip_verify from [hec] and set ca_file")
	}
	d, err := hec.New(hec.Config{
		URLs: s.List("url"), Token: token.Reveal(), Ack: hec.Ack(s.String("ack")),
		Indexes: indexes(config),
		CAFile:  s.String("ca_file"), ClientCertFile: s.String("client_cert_file"), ClientKeyFile: s.String("client_key_file"),
		InsecureSkipVerify: s.Bool("insecure_skip_verify"), Proxy: s.String("proxy"), Timeout: s.Duration("timeout"),
		UserAgent: "aiwatch/" + version, Log: log,
	})
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return d, nil
}

// indexes returns every index that events may go to, each once.
func indexes(config *conf.Config) []string {
	fallback := config.One("hec").String("index")
	seen := map[string]bool{}
	var all []string
	for _, in := range config.Inputs() {
		index := in.String("index")
		if index == "" {
			index = fallback
		}
		if !seen[index] {
			seen[index] = true
			all = append(all, index)
		}
	}
	return all
}
