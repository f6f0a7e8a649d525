package detection

import (
	"encoding/json"
	"fmt"

	"aiwatch/internal/event/schema"
)

// modelName is the app's data model.
const modelName = "AI_Assets"

// A node is one dataset of the data model.
type node struct{ name, parent, title, search string }

// nodes are the datasets: all events, and their three kinds of acts.
var nodes = []node{
	{"AI_Events", "BaseEvent", "All events of AI assets", "`aiwatch_events`"},
	{"Access", "AI_Events", "What was read and downloaded", `action IN ("read", "downloaded") operation!="inventory"`},
	{"Change", "AI_Events", "What was made, changed, written and deleted", `action IN ("created", "modified", "updated", "deleted", "uploaded", "copied")`},
	{"Permission", "AI_Events", "Who may do what", `action="acl_modified"`},
}

// dataModel is default/data/models/AI_Assets.json, made from the event schema.
func dataModel() ([]byte, error) {
	type field struct {
		Name     string `json:"fieldName"`
		Owner    string `json:"owner"`
		Type     string `json:"type"`
		Search   string `json:"fieldSearch"`
		Required bool   `json:"required"`
		Multi    bool   `json:"multivalue"`
		Hidden   bool   `json:"hidden"`
		Editable bool   `json:"editable"`
		Title    string `json:"displayName"`
		Comment  string `json:"comment"`
	}
	type constraint struct {
		Search string `json:"search"`
		Owner  string `json:"owner"`
	}
	type object struct {
		Name         string       `json:"objectName"`
		Title        string       `json:"displayName"`
		Parent       string       `json:"parentName"`
		Comment      string       `json:"comment"`
		Fields       []field      `json:"fields"`
		Calculations []struct{}   `json:"calculations"`
		Constraints  []constraint `json:"constraints"`
		Lineage      string       `json:"lineage"`
	}
	root := nodes[0].name
	fields := []field{
		{Name: "_time", Owner: "BaseEvent", Type: "timestamp", Title: "_time"},
		{Name: "host", Owner: "BaseEvent", Type: "string", Title: "host"},
		{Name: "source", Owner: "BaseEvent", Type: "string", Title: "source"},
		{Name: "sourcetype", Owner: "BaseEvent", Type: "string", Title: "sourcetype"},
	}
	for _, f := range append(schema.All(), schema.SearchTime...) {
		if f.Group == "Health" || f.Group == "Damage" {
			continue
		}
		kind := map[schema.Kind]string{schema.Number: "number", schema.Time: "number", schema.Bool: "boolean"}[f.Kind]
		fields = append(fields, field{Name: f.Name, Owner: root, Type: orElse(kind, "string"), Multi: f.Kind == schema.List, Title: f.Name, Comment: f.Doc})
	}
	doc := struct {
		Name        string         `json:"modelName"`
		Title       string         `json:"displayName"`
		Description string         `json:"description"`
		Summary     map[string]int `json:"objectSummary"`
		Objects     []object       `json:"objects"`
		Names       []string       `json:"objectNameList"`
	}{Name: modelName, Title: "AI Assets", Description: "Who did what to which model, dataset, run or repository.", Summary: map[string]int{"Event-Based": len(nodes), "Transaction-Based": 0, "Search-Based": 0}}
	for _, n := range nodes {
		o := object{Name: n.name, Title: n.title, Parent: n.parent, Calculations: []struct{}{}, Fields: []field{}, Constraints: []constraint{{n.search, n.name}}, Lineage: root}
		if n.name == root {
			o.Fields = fields
		} else {
			o.Lineage += "." + n.name
		}
		doc.Objects = append(doc.Objects, o)
		doc.Names = append(doc.Names, n.name)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the data model: %w", err)
	}
	return append(text, '\n'), nil
}
