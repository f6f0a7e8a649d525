package spl

// commandSpec is what the language knows of one command.
type commandSpec struct {
	parse func(p *parser, at place) (command, error)
	// generating commands come first; anywhere: they may also come later.
	generating, anywhere bool
	// inSubsearch: may come first in a subsearch although it takes rows.
	inSubsearch bool
	// options that it takes, for the documentation.
	options []string
}

// commandTable lists every command. It is made anew for each parser, because
// parsing a command needs the table.
func commandTable() map[string]commandSpec {
	plain := func(parse func(*parser, place) (command, error), options ...string) commandSpec {
		return commandSpec{parse: parse, options: options}
	}
	stats := plain(parseStats, "allnum", "partitions")
	top := []string{"limit", "countfield", "percentfield", "showcount", "showperc"}
	bin := plain(parseBin, "span", "aligntime")
	chart := []string{"span", "limit", "useother", "usenull", "otherstr", "nullstr"}
	return map[string]commandSpec{
		"addinfo":      plain(parseAddinfo),
		"append":       plain(parseAppend, "maxout", "maxtime", "timeout", "extendtimerange"),
		"appendpipe":   plain(parseAppend, "run_in_preview"),
		"bin":          bin,
		"bucket":       bin,
		"chart":        plain(parseChart, chart...),
		"collect":      plain(parseCollect, "index", "testmode", "source", "host", "sourcetype", "marker"),
		"convert":      plain(parseConvert, "timeformat"),
		"dedup":        plain(parseDedup, "keepevents", "keepempty", "consecutive", "sortby"),
		"eval":         plain(parseEval),
		"eventstats":   plain(parseStats, "allnum"),
		"fields":       plain(parseFields),
		"filldown":     plain(parseFilldown),
		"fillnull":     plain(parseFillnull, "value"),
		"foreach":      plain(parseForeach, "mode"),
		"format":       plain(parseFormat, "mvsep", "maxresults", "emptystr"),
		"from":         {parse: parseFrom, generating: true},
		"head":         plain(parseHead, "limit", "null", "keeplast"),
		"inputlookup":  {parse: parseInputlookup, generating: true, anywhere: true, options: []string{"append", "start", "max", "strict", "where"}},
		"lookup":       plain(parseLookup, "local", "update", "OUTPUT", "OUTPUTNEW"),
		"makemv":       plain(parseMakemv, "delim", "tokenizer", "allowempty"),
		"makeresults":  {parse: parseMakeresults, generating: true, options: []string{"count", "annotate", "format", "data"}},
		"mvcombine":    plain(parseMvcombine, "delim"),
		"mvexpand":     plain(parseMvexpand, "limit"),
		"nomv":         plain(parseNomv),
		"outputlookup": plain(parseOutputlookup, "append", "create_empty", "override_if_empty", "createinapp", "key_field", "max"),
		"rare":         plain(parseTop, top...),
		"regex":        plain(parseRegex),
		"rename":       plain(parseRename),
		"return":       plain(parseReturn),
		"reverse":      plain(parseReverse),
		"rex":          plain(parseRex, "field", "max_match", "offset_field", "mode"),
		"savedsearch":  {parse: parseSavedsearch, generating: true},
		"search":       {parse: parseSearch, generating: true, anywhere: true},
		"sort":         plain(parseSort, "limit"),
		"spath":        plain(parseSpath, "input", "output", "path"),
		"stats":        stats,
		"streamstats":  plain(parseStreamstats, streamOptions...),
		"table":        plain(parseFields),
		"tail":         plain(parseTail),
		"timechart":    plain(parseChart, append(chart[:len(chart):len(chart)], "cont", "fixedrange", "partial")...),
		"tojson":       plain(parseTojson, "default_type", "fill_null", "include_internal", "output_field"),
		"top":          plain(parseTop, append(top[:len(top):len(top)], "useother", "otherstr")...),
		"tstats":       {parse: parseTstats, generating: true, options: []string{"summariesonly", "allow_old_summaries", "prestats", "append", "local", "chunk_size", "fillnull_value", "span"}},
		"where":        plain(parseWhere),
	}
}
