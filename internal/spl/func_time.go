package spl

func timeFunctions(m map[string]*evalFunction) {
	now := func(env *evalEnv, _ *call, _ []Value) Value { return number(float64(int64(env.now))) }
	m["now"] = &evalFunction{args: "n", result: typeNumber, page: pageDate, run: now}
	// time() is the clock at the moment of processing, which is handed in here
	// and stands still.
	m["time"] = &evalFunction{
		args: "n", result: typeNumber, page: pageDate,
		run: func(env *evalEnv, _ *call, _ []Value) Value { return number(env.now) },
	}
	m["strftime"] = &evalFunction{
		least: 2, most: 2, args: "s", result: typeText, page: pageDate,
		verify: func(c *compiler, at *call) error { return c.checkFormat(at, false) },
		run: func(env *evalEnv, at *call, a []Value) Value {
			f, ok := a[0].Float()
			if !ok {
				return null
			}
			s, err := strftime(f, a[1].String(), env.loc)
			if err != nil {
				return env.fail(at.pos, "strftime: %s", err)
			}
			return text(s)
		},
	}
	m["strptime"] = &evalFunction{
		least: 2, most: 2, args: "s", result: typeNumber, page: pageDate,
		verify: func(c *compiler, at *call) error { return c.checkFormat(at, true) },
		run: func(env *evalEnv, at *call, a []Value) Value {
			f, ok, err := strptime(a[0].String(), a[1].String(), env.loc)
			if err != nil {
				return env.fail(at.pos, "strptime: %s", err)
			}
			if !ok {
				return null
			}
			return number(f)
		},
	}
	m["relative_time"] = &evalFunction{
		least: 2, most: 2, args: "ns", result: typeNumber, page: pageDate,
		verify: func(c *compiler, at *call) error {
			if s, ok := literalText(at.args[1]); ok {
				if _, err := parseTimeModifier(s); err != nil {
					return c.refuse(at.args[1].at(), "relative_time: %s", err)
				}
			}
			return nil
		},
		run: func(env *evalEnv, at *call, a []Value) Value {
			f, ok := a[0].Float()
			if !ok {
				return null
			}
			mod, err := parseTimeModifier(a[1].String())
			if err != nil {
				return env.fail(at.pos, "relative_time: %s", err)
			}
			return number(mod.resolve(f, env.loc))
		},
	}
}

func (c *compiler) checkFormat(at *call, parsing bool) error {
	if s, ok := literalText(at.args[1]); ok {
		if err := checkTimeFormat(s, parsing); err != nil {
			return c.refuse(at.args[1].at(), "%s: %s", at.name, err)
		}
	}
	return nil
}
