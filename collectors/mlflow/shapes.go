package mlflow

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// The answers' shapes, as 2.22 and 3.17 send them. Other servers write numbers
// as strings, and strings as numbers: text and number take both. What is of
// neither kind is left empty rather than an error, since one odd field must not
// hide an object.

// text is a string, or a number as it is written.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
			*t = text(b[1 : len(b)-1]) // nearly all: the long way costs twice
			return nil
		}
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(s)
		return nil
	}
	if !bytes.Equal(b, []byte("null")) {
		*t = text(b)
	}
	return nil
}

// number is a whole number, or one in a string.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	s := string(b)
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = number(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1<<53 && f < 1<<53 {
		*n = number(f)
	}
	return nil
}

type pairJSON struct {
	Key   string `json:"key"`
	Value text   `json:"value"`
}

type aliasJSON struct {
	Alias   string `json:"alias"`
	Version text   `json:"version"`
}

type modelJSON struct {
	Name        string      `json:"name"`
	Created     number      `json:"creation_timestamp"`
	Updated     number      `json:"last_updated_timestamp"`
	Description string      `json:"description"`
	Tags        []pairJSON  `json:"tags"`
	Aliases     []aliasJSON `json:"aliases"`
}

type versionJSON struct {
	Name        string     `json:"name"`
	Version     text       `json:"version"`
	Created     number     `json:"creation_timestamp"`
	Updated     number     `json:"last_updated_timestamp"`
	Stage       string     `json:"current_stage"`
	Description string     `json:"description"`
	Source      string     `json:"source"`
	RunID       string     `json:"run_id"`
	Status      string     `json:"status"`
	Tags        []pairJSON `json:"tags"`
}

type experimentJSON struct {
	ID        text       `json:"experiment_id"`
	Name      string     `json:"name"`
	Location  string     `json:"artifact_location"`
	Lifecycle string     `json:"lifecycle_stage"`
	Created   number     `json:"creation_time"`
	Updated   number     `json:"last_update_time"`
	Tags      []pairJSON `json:"tags"`
}

type datasetJSON struct {
	Dataset struct {
		Name       string `json:"name"`
		Digest     string `json:"digest"`
		SourceType string `json:"source_type"`
		Source     string `json:"source"`
	} `json:"dataset"`
	Tags []pairJSON `json:"tags"`
}

type metricJSON struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"` // a number, or "NaN", "Infinity" in quotes
	Timestamp number          `json:"timestamp"`
	Step      number          `json:"step"`
}

type runJSON struct {
	Info struct {
		RunID      string `json:"run_id"`
		RunUUID    string `json:"run_uuid"`
		Name       string `json:"run_name"`
		Experiment text   `json:"experiment_id"`
		User       string `json:"user_id"`
		Status     string `json:"status"`
		Start      number `json:"start_time"`
		End        number `json:"end_time"`
		Artifacts  string `json:"artifact_uri"`
		Lifecycle  string `json:"lifecycle_stage"`
	} `json:"info"`
	Data struct {
		Metrics []metricJSON `json:"metrics"`
		Params  []pairJSON   `json:"params"`
		Tags    []pairJSON   `json:"tags"`
	} `json:"data"`
	Inputs struct {
		Datasets []datasetJSON `json:"dataset_inputs"`
		Models   []struct {
			ID string `json:"model_id"`
		} `json:"model_inputs"`
	} `json:"inputs"`
}

func (r *runJSON) id() string {
	if r.Info.RunID != "" {
		return r.Info.RunID
	}
	return r.Info.RunUUID
}

type loggedModelJSON struct {
	Info struct {
		ID         string     `json:"model_id"`
		Name       string     `json:"name"`
		Experiment text       `json:"experiment_id"`
		Created    number     `json:"creation_timestamp_ms"`
		Updated    number     `json:"last_updated_timestamp_ms"`
		Status     text       `json:"status"`
		Type       string     `json:"model_type"`
		RunID      string     `json:"source_run_id"`
		Artifacts  string     `json:"artifact_uri"`
		Tags       []pairJSON `json:"tags"`
	} `json:"info"`
}
