package modinput_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/modinput"
)

func TestLog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(modinput.NewLogHandler(&b, slog.LevelDebug))
	log.Debug("looked")
	log.Info("two\nlines\r\x1b[31m", "key", "a b", "n", 3)
	log.With("input", "aiwatch_s3://prod").WithGroup("g").Warn("slow", "level", "mine", "msg", "too")
	log.Error("failed", "error", errors.New("line one\nline two"))
	log.Log(t.Context(), modinput.LevelFatal, "the end")
	log.Info("a secret", "token", conf.NewSecret("hunter2"))
	require.Equal(t, strings.Join([]string{
		`DEBUG looked`,
		`INFO two lines  [31m key="a b" n=3`,
		`WARN slow input=aiwatch_s3://prod g.level=mine g.msg=too`,
		`ERROR failed error="line one\nline two"`,
		`FATAL the end`,
		`INFO a secret token=[secret]`,
		``,
	}, "\n"), b.String())
}

func TestLogLevel(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(modinput.NewLogHandler(&b, slog.LevelWarn))
	log.Info("not this")
	require.Empty(t, b.String())
}
