import * as vega from "vega";
import * as lite from "vega-lite";
import { expressionInterpreter } from "vega-interpreter";
globalThis.quireVega = { parse: vega.parse, View: vega.View, compile: lite.compile, expr: expressionInterpreter, loader: vega.loader };
