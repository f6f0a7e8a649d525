package counterpart

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// MLflowOptions are what a test may want of a tracking server.
type MLflowOptions struct {
	// BasicAuth asks for users and passwords; the administrator's are in the
	// server's fields.
	BasicAuth bool
	// ServeArtifacts keeps artifacts behind the server (mlflow-artifacts:/);
	// else they go to the folder Artifacts directly.
	ServeArtifacts bool
	// Workspaces switches workspaces on (MLflow 3).
	Workspaces bool
	// Webhooks allows webhooks to loopback and to http (MLflow 3).
	Webhooks bool
	// Gunicorn runs MLflow 3 under gunicorn, whose access log tells the user.
	// MLflow 2 has nothing else.
	Gunicorn bool
}

// MLflowServer is a running tracking server and registry.
type MLflowServer struct {
	*Process
	URL      string
	Version  string
	Username string // of the administrator, with BasicAuth
	Password string
	// Artifacts is the folder behind artifacts.
	Artifacts string
	// Database is the SQLite file of the tracking store and the registry.
	Database string
	// AccessLog is the file with a line for each request: uvicorn's format,
	// among other output, or gunicorn's, which is the combined one.
	AccessLog string

	python string
}

// MLflow2 starts MLflow 2.22.5 under gunicorn.
func MLflow2(tb testing.TB, options MLflowOptions) *MLflowServer {
	tb.Helper()
	options.Gunicorn = true
	return mlflow(tb, "mlflow2", "2.22.5", "password1234", options)
}

// MLflow3 starts MLflow 3.17.2 under uvicorn.
func MLflow3(tb testing.TB, options MLflowOptions) *MLflowServer {
	tb.Helper()
	return mlflow(tb, "mlflow3", "3.17.2", "a-long-test-password", options)
}

// mlflow starts a server the way `mlflow server` does it, without the command's
// own seconds, on copies of databases that need no migration.
func mlflow(tb testing.TB, name, version, password string, options MLflowOptions) *MLflowServer {
	tb.Helper()
	home := installed(tb, name)
	dir := tb.TempDir()
	s := &MLflowServer{
		Version:   version,
		Artifacts: filepath.Join(dir, "artifacts"),
		Database:  filepath.Join(dir, "db.sqlite"),
		python:    filepath.Join(home, "bin", "python"),
	}
	if err := os.Mkdir(s.Artifacts, 0o700); err != nil {
		tb.Fatal(err)
	}
	copyFile(tb, s.Database, filepath.Join(home, "ready", "db.sqlite"))

	store := "sqlite:///" + s.Database
	env := []string{
		"MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
		"PYTHONUNBUFFERED=1", "PYTHONWARNINGS=ignore",
		"_MLFLOW_SERVER_FILE_STORE=" + store, "_MLFLOW_SERVER_REGISTRY_STORE=" + store,
	}
	if options.ServeArtifacts {
		env = append(env, "_MLFLOW_SERVER_ARTIFACT_ROOT=mlflow-artifacts:/",
			"_MLFLOW_SERVER_SERVE_ARTIFACTS=true", "_MLFLOW_SERVER_ARTIFACT_DESTINATION="+s.Artifacts)
	} else {
		env = append(env, "_MLFLOW_SERVER_ARTIFACT_ROOT="+s.Artifacts)
	}
	if options.Workspaces {
		env = append(env, "MLFLOW_ENABLE_WORKSPACES=true")
	}
	if options.Webhooks {
		env = append(env, "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true")
	}
	if options.BasicAuth {
		s.Username, s.Password = "admin", password
		users := filepath.Join(dir, "auth.sqlite")
		copyFile(tb, users, filepath.Join(home, "ready", "auth.sqlite"))
		config := filepath.Join(dir, "auth.ini")
		if err := os.WriteFile(config, []byte(strings.Join([]string{
			"[mlflow]",
			"default_permission = READ",
			"database_uri = sqlite:///" + users,
			"admin_username = " + s.Username,
			"admin_password = " + s.Password,
			"authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
			"grant_default_workspace_access = false",
			"",
		}, "\n")), 0o600); err != nil {
			tb.Fatal(err)
		}
		env = append(env, "MLFLOW_AUTH_CONFIG_PATH="+config, "MLFLOW_FLASK_SERVER_SECRET_KEY=only-for-tests")
	}

	if options.Gunicorn {
		s.AccessLog = filepath.Join(dir, "access.log")
		env = append(env, "_MLFLOW_SGI_NAME=gunicorn")
	} else {
		env = append(env, "_MLFLOW_SGI_NAME=uvicorn")
	}
	s.Process = start(tb, name, func(address string) spec {
		return spec{
			path:  s.python,
			args:  append([]string{"-m"}, s.server(options, address)...),
			env:   env,
			dir:   dir,
			ready: "http://" + address + "/health",
		}
	})
	if s.AccessLog == "" {
		s.AccessLog = s.Output()
	}
	s.URL = "http://" + s.Address()
	return s
}

// server is the Python module to run, with its arguments.
func (s *MLflowServer) server(options MLflowOptions, address string) []string {
	if options.Gunicorn {
		app := "mlflow.server:app"
		if options.BasicAuth {
			app = "mlflow.server.auth:create_app()"
		}
		return []string{"gunicorn", "--bind", address, "--workers", "1", "--access-logfile", s.AccessLog, app}
	}
	args := []string{"uvicorn", "--host", "127.0.0.1", "--port", port(address), "--log-config", s.uvicornLog()}
	if options.BasicAuth {
		return append(args, "--factory", "mlflow.server.auth:create_app")
	}
	return append(args, "mlflow.server.fastapi_app:app")
}

// uvicornLog is the log configuration that MLflow 3 brings along.
func (s *MLflowServer) uvicornLog() string {
	pattern := filepath.Join(filepath.Dir(s.python), "..", "lib", "python3*", "site-packages", "mlflow", "server", "uvicorn_log_config.yaml")
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return pattern // uvicorn will say that it is not there
	}
	return found[0]
}

// Python runs a script with MLflow's own client, as the administrator where
// users are asked for, and returns what it wrote to stdout. env is added to its
// environment ("MLFLOW_TRACKING_USERNAME=eve").
func (s *MLflowServer) Python(tb testing.TB, script string, env ...string) string {
	tb.Helper()
	command := s.command(tb, script)
	command.Env = append(command.Env, env...)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		tb.Fatalf("run the script against MLflow: %v\n%s", err, &stderr)
	}
	return string(out)
}

// Python runs a script with the interpreter that MLflow runs in, which has NumPy
// and pandas, in a folder that it may fill, and returns the folder. No server is
// started.
func Python(tb testing.TB, mlflow, script string) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	command := exec.CommandContext(tb.Context(), filepath.Join(installed(tb, mlflow), "bin", "python"), "-c", script)
	command.Dir = dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore"}
	if out, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("run a Python script: %v\n%s", err, out)
	}
	return dir
}

func (s *MLflowServer) command(tb testing.TB, script string) *exec.Cmd {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), s.python, "-c", script)
	command.Dir = tb.TempDir()
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + command.Dir, "TMPDIR=" + command.Dir, "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore",
		"MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_TRACKING_URI=" + s.URL, "MLFLOW_REGISTRY_URI=" + s.URL,
		"MLFLOW_TRACKING_USERNAME=" + s.Username, "MLFLOW_TRACKING_PASSWORD=" + s.Password,
	}
	return command
}

// MLflowClient is a Python process in which MLflow's own client works for a
// test: it loads in seconds, so that one serves many acts.
type MLflowClient struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *strings.Builder
}

//go:embed mlflowclient.py
var clientLoop string

// Client starts a Python process with the functions of a script, which Do calls
// by their names. It ends with the test.
func (s *MLflowServer) Client(tb testing.TB, script string) *MLflowClient {
	tb.Helper()
	c := &MLflowClient{stderr: &strings.Builder{}}
	command := s.command(tb, script+"\n"+clientLoop)
	command.Stderr = c.stderr
	var err error
	if c.stdin, err = command.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	c.stdout = bufio.NewReader(stdout)
	if err := command.Start(); err != nil {
		tb.Fatalf("start MLflow's client: %v", err)
	}
	tb.Cleanup(func() {
		_ = c.stdin.Close()
		_ = command.Wait()
	})
	return c
}

// Do calls a function with its named arguments and returns what it returned. env
// changes the process's environment first ("MLFLOW_TRACKING_USERNAME": "eve").
func (c *MLflowClient) Do(tb testing.TB, function string, arguments map[string]any, env map[string]string) any {
	tb.Helper()
	if err := json.NewEncoder(c.stdin).Encode(map[string]any{"do": function, "with": arguments, "env": env}); err != nil {
		tb.Fatalf("%s by MLflow's client: %v", function, err)
	}
	line, err := c.stdout.ReadBytes('\n')
	var answer struct {
		Returned any
		Raised   string
	}
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil || answer.Raised != "" {
		tb.Fatalf("%s by MLflow's client: %v %s", function, err, answer.Raised)
	}
	return answer.Returned
}

// port is the port of a host and port.
func port(address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return p
}
