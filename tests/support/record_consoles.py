"""Records one run as the consoles of the Go and JavaScript SDKs print it and as Mastra exports it:
files in tests/analyzer/recorded/exports/. Run by hand; needs go, or node and npm:

    python -m tests.support.record_consoles go | javascript | mastra

The run is an agent that asks a model, calls a tool that fails, and asks again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.record_exports import save

GO = """
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	options := []stdouttrace.Option{}
	if os.Args[1] == "pretty" {
		options = append(options, stdouttrace.WithPrettyPrint())
	}
	exporter, _ := stdouttrace.New(options...)
	named := resource.NewSchemaless(attribute.String("service.name", "demo"))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSyncer(exporter), sdktrace.WithResource(named))
	tracer := provider.Tracer("my.scope", trace.WithInstrumentationVersion("1.2"))
	ctx, root := tracer.Start(context.Background(), "invoke_agent demo",
		trace.WithAttributes(attribute.String("gen_ai.operation.name", "invoke_agent"),
			attribute.String("gen_ai.conversation.id", "a conversation")))
	step := func(name string, failed bool, said ...attribute.KeyValue) {
		_, span := tracer.Start(ctx, name, trace.WithAttributes(said...),
			trace.WithLinks(trace.Link{SpanContext: root.SpanContext()}))
		time.Sleep(20 * time.Millisecond)
		if failed {
			span.RecordError(errors.New("boom"))
			span.SetStatus(codes.Error, "boom")
		}
		span.End()
	}
	chat := func(input int, output int) {
		step("chat gpt-4o", false, attribute.String("gen_ai.operation.name", "chat"),
			attribute.String("gen_ai.request.model", "gpt-4o"),
			attribute.Int("gen_ai.usage.input_tokens", input),
			attribute.Int("gen_ai.usage.output_tokens", output),
			attribute.StringSlice("gen_ai.response.finish_reasons", []string{"stop"}))
	}
	chat(700, 20)
	step("execute_tool weather", true, attribute.String("gen_ai.operation.name", "execute_tool"),
		attribute.String("gen_ai.tool.name", "weather"))
	chat(800, 30)
	root.End()
	provider.Shutdown(context.Background())
}
"""

JAVASCRIPT = """
const [release, mode] = process.argv.slice(2)
const sdk = require(`sdk${release}`)
const api = require('@opentelemetry/api')
const { Resource, resourceFromAttributes } = require(`resources${release}`)
const named = { 'service.name': 'demo' }
const resource = release === '1' ? new Resource(named) : resourceFromAttributes(named)
class Strings {
  export(spans, done) {
    for (const span of spans) {
      const seen = new WeakSet()
      console.log(JSON.stringify(span, (key, value) => {
        if (typeof value !== 'object' || value === null) return value
        if (seen.has(value)) return '[Circular]'
        seen.add(value)
        return value
      }, 2))
    }
    done({ code: 0 })
  }
  shutdown() { return Promise.resolve() }
}
const exporter = mode === 'strings' ? new Strings() : new sdk.ConsoleSpanExporter()
const processor = new sdk.SimpleSpanProcessor(exporter)
const provider = new sdk.BasicTracerProvider({ resource, spanProcessors: [processor] })
const tracer = provider.getTracer('my.scope', '1.2')
const root = tracer.startSpan('invoke_agent demo', { attributes: {
  'gen_ai.operation.name': 'invoke_agent', 'gen_ai.conversation.id': 'a conversation' } })
const context = api.trace.setSpan(api.ROOT_CONTEXT, root)
const wait = () => new Promise(done => setTimeout(done, 20))
async function step(name, attributes, failed) {
  const links = [{ context: root.spanContext(), attributes: {} }]
  const span = tracer.startSpan(name, { attributes, links }, context)
  await wait()
  if (failed) span.setStatus({ code: 2, message: "it's \\"boom\\" {" })
  span.end()
}
const chat = (input, output) => step('chat gpt-4o', {
  'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-4o',
  'gen_ai.usage.input_tokens': input, 'gen_ai.usage.output_tokens': output,
  'gen_ai.response.finish_reasons': ['stop'],
  'gen_ai.output.messages': 'It rains.\\n} { "as" it\\'s `always`' })
async function main() {
  console.log('listening on 3000 {')
  await chat(700, 20)
  await step('execute_tool weather', {
    'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 'weather' }, true)
  await chat(800, 30)
  root.end()
}
main()
"""
JAVASCRIPT_PACKAGES = (
    "@opentelemetry/api",
    *(f"sdk{n}@npm:@opentelemetry/sdk-trace-base@{n}" for n in (1, 2)),
    *(f"resources{n}@npm:@opentelemetry/resources@{n}" for n in (1, 2)),
)

MASTRA = """
import { Mastra } from '@mastra/core'
import { Agent } from '@mastra/core/agent'
import { createTool } from '@mastra/core/tools'
import { Observability } from '@mastra/observability'
import { z } from 'zod'

const wait = ms => new Promise(done => setTimeout(done, ms))
const keep = event => console.log(JSON.stringify(event))
const exporter = { name: 'lines', init() {}, __setLogger() {}, async flush() {},
  async shutdown() {}, onTracingEvent: keep, exportTracingEvent: keep }
const usage = (i, o) => ({ inputTokens: i, outputTokens: o, totalTokens: i + o })
const call = { type: 'tool-call', toolCallId: 'call_1', toolName: 'weather', input: '{"city":"x"}' }
const replies = [
  [call, { type: 'finish', finishReason: 'tool-calls', usage: usage(700, 20) }],
  [{ type: 'text-start', id: 't' }, { type: 'text-delta', id: 't', delta: 'It rains.' },
   { type: 'text-end', id: 't' }, { type: 'finish', finishReason: 'stop', usage: usage(800, 30) }],
]
let number = 0
const model = { specificationVersion: 'v2', provider: 'openai.chat', modelId: 'gpt-4o',
  supportedUrls: {}, async doStream() {
    const parts = [{ type: 'stream-start', warnings: [] }, ...replies[number++]]
    return { stream: new ReadableStream({ async start(to) {
      for (const part of parts) { await wait(20); to.enqueue(part) }
      to.close()
    } }) }
  } }
const weather = createTool({ id: 'weather', description: 'w',
  inputSchema: z.object({ city: z.string() }),
  execute: async () => { await wait(50); throw new Error('boom') } })
const demo = new Agent({ id: 'demo', name: 'demo', instructions: 'x', model, tools: { weather } })
const observability = new Observability({
  configs: { default: { serviceName: 'demo', exporters: [exporter] } } })
const mastra = new Mastra({ agents: { demo }, observability, logger: false })
const memory = { thread: 'a conversation', resource: 'r' }
const reply = await mastra.getAgent('demo').stream('rain?', { memory })
for await (const _ of reply.textStream) {}
await wait(500)
"""
MASTRA_PACKAGES = ("@mastra/core@1", "@mastra/observability@1", "zod@4")


def go(folder: Path) -> None:
    (folder / "main.go").write_text(GO)
    for command in ("init demo", "tidy"):
        subprocess.run(["go", "mod", *command.split()], cwd=folder, check=True)
    for mode, name in (("lines", "go-stdouttrace.jsonl"), ("pretty", "go-stdouttrace.txt")):
        save(name, _printed(["go", "run", ".", mode], folder))


def javascript(folder: Path) -> None:
    _installed(JAVASCRIPT_PACKAGES, folder)
    (folder / "run.js").write_text(JAVASCRIPT)
    for release in ("1", "2"):
        for mode in ("console", "strings"):
            printed = _printed(["node", "run.js", release, mode], folder)
            save(f"javascript-{mode}-{release}.txt", printed)


def mastra(folder: Path) -> None:
    _installed(MASTRA_PACKAGES, folder)
    (folder / "run.mjs").write_text(MASTRA)
    printed = _printed(["node", "run.mjs"], folder)
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    save("mastra.jsonl", "\n".join(lines))


def _installed(packages: tuple[str, ...], folder: Path) -> None:
    subprocess.run(["npm", "install", "--silent", *packages], cwd=folder, check=True)


def _printed(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        {"go": go, "javascript": javascript, "mastra": mastra}[sys.argv[1]](Path(temporary))
