#include "client/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "client/cli/event_text.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

// Values as the command line has them, before they are read.
struct Raw {
  std::string min_age;
  std::string limit;
  std::string limit_option;
  std::string guarantee;
  std::string min_growth;
  std::string bytes_per_second;
  std::string bytes_burst;
};

constexpr char kFooter[] =
    "Exit codes: 0 ok, 1 other error, 2 usage, 3 no daemon answers,\n"
    "4 permission, 5 refused by a quota or limit, 6 not found, 7 doctor found\n"
    "problems or the daemon is not serving, 8 snapshot diff found growth.\n"
    "\n"
    "Examples:\n"
    "  vrampool status\n"
    "  vrampool sessions --sort charged --reverse\n"
    "  vrampool leaks --min-age 10m\n"
    "  vrampool quota set root/team-a 40GiB\n"
    "  vrampool snapshot save before.json\n"
    "  vrampool doctor\n"
    "  vrampool COMMAND --help   more about one command\n";

void AddSort(CLI::App* app, Options* options) {
  app->add_option("--sort", options->order.column,
                  "Sort by this column (its heading, in any case)")
      ->type_name("COLUMN");
  app->add_flag("--reverse", options->order.is_reversed,
                "Reverse the order of the rows");
}

void AddTenant(CLI::App* app, Options* options) {
  app->add_option("--tenant", options->tenant,
                  "Only this tenant and those below it")
      ->type_name("PATH");
}

void AddSession(CLI::App* app, Options* options) {
  app->add_option("--session", options->session, "Only this session")
      ->type_name("ID");
}

void AddMinAge(CLI::App* app, Raw* raw) {
  app->add_option("--min-age", raw->min_age,
                  "Only what is at least this old: 90s, 5m, 2h, 3d")
      ->type_name("TIME")
      ->check([](const std::string& text) {
        return ParseAge(text).has_value()
                   ? std::string()
                   : "\"" + text + "\" is no time such as 90s, 5m, 2h or 3d";
      });
}

std::string CheckSize(const std::string& text) {
  return ParseBytes(text).has_value()
             ? std::string()
             : "\"" + text + "\" is no size such as 512MiB or 4G";
}

CLI::App* AddCommand(CLI::App* app, const char* name, const char* about,
                     const char* examples, Command command, CommandLine* line) {
  CLI::App* const sub = app->add_subcommand(name, about);
  sub->footer(
      std::string("Also, as for every command: --directory DIR, "
                  "--device DEVICE, --json, --no-header\n\nExamples:\n") +
      examples);
  // Only the innermost command of the line calls back with a command.
  if (command != nullptr) {
    sub->callback([command, line] { line->command = command; });
  }
  return sub;
}

void AddLists(CLI::App* app, CommandLine* line, Raw* raw) {
  Options* const options = &line->options;
  CLI::App* sub = AddCommand(
      app, "sessions", "Processes attached to the daemon and what each holds",
      "  vrampool sessions --sort charged --reverse\n"
      "  vrampool sessions --tenant root/team-a --min-age 1h\n"
      "  vrampool sessions --json\n",
      RunSessions, line);
  AddSort(sub, options);
  AddTenant(sub, options);
  AddSession(sub, options);
  AddMinAge(sub, raw);

  sub = AddCommand(app, "tenants", "Quotas and use of every tenant",
                   "  vrampool tenants\n"
                   "  vrampool tenants --tenant root/team-a --sort used\n",
                   RunTenants, line);
  AddSort(sub, options);
  AddTenant(sub, options);

  sub =
      AddCommand(app, "leases", "Every slab: whose it is, its state, its size",
                 "  vrampool leases --sort size --reverse\n"
                 "  vrampool leases --session 7\n",
                 RunLeases, line);
  AddSort(sub, options);
  AddTenant(sub, options);
  AddSession(sub, options);
  AddMinAge(sub, raw);

  sub = AddCommand(app, "reservations",
                   "Room that is held for processes and not leased yet",
                   "  vrampool reservations\n"
                   "  vrampool reservations --session 7\n",
                   RunReservations, line);
  AddSort(sub, options);
  AddTenant(sub, options);
  AddSession(sub, options);

  sub = AddCommand(app, "objects", "Shared objects and who holds them",
                   "  vrampool objects --sort age --reverse\n"
                   "  vrampool objects --session 7\n",
                   RunObjects, line);
  AddSort(sub, options);
  AddTenant(sub, options);
  AddSession(sub, options);
  AddMinAge(sub, raw);
}

void AddLeaks(CLI::App* app, CommandLine* line, Raw* raw) {
  Options* const options = &line->options;
  CLI::App* const sub =
      AddCommand(app, "leaks",
                 "What is or was held and should not be: blocks of live and "
                 "ended processes, lingering slabs, objects without holders",
                 "  vrampool leaks --min-age 10m\n"
                 "  vrampool leaks --session 7 --max-blocks 100\n"
                 "  vrampool leaks --tenant root/team-a --json\n"
                 "  vrampool leaks --flamegraph leaks.svg\n",
                 RunLeaks, line);
  AddSort(sub, options);
  AddTenant(sub, options);
  AddSession(sub, options);
  AddMinAge(sub, raw);
  sub->add_option("--max-blocks", options->max_blocks,
                  "Blocks shown of each process, the largest first")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sub->add_option("--stacks", options->max_stacks,
                  "Stacks shown of each process, what most bytes were "
                  "allocated from first; 0: none")
      ->type_name("N")
      ->check(CLI::Range(0, 500))
      ->capture_default_str();
  sub->add_flag("--symbolize", options->is_symbolized,
                "Name call sites and stacks by function and line, where "
                "addr2line (of binutils) knows them");
  sub->add_option("--flamegraph", options->flame_graph,
                  "Write a picture of all blocks by tenant, session, tag and "
                  "call site or stack, as SVG, in place of the lists")
      ->type_name("FILE");
  sub->add_option("--memory-viz", options->memory_viz,
                  "Write live sessions' slabs and blocks for PyTorch's page "
                  "memory_viz, in place of the lists")
      ->type_name("FILE");
}

CLI::Option* AddSize(CLI::App* app, const char* name, std::string* text,
                     const char* about) {
  return app->add_option(name, *text, about)
      ->type_name("SIZE")
      ->check([](const std::string& value) {
        return ParseBytes(value).has_value()
                   ? std::string()
                   : "\"" + value + "\" is no size such as 512MiB or 4G";
      });
}

void AddRates(CLI::App* set, QuotaChange* change, Raw* raw) {
  const auto add = [set](const char* name, auto& value, const char* help) {
    // Or "-1" would be a very high rate.
    set->add_option(name, value, help)
        ->check(CLI::NonNegativeNumber)
        ->type_name("N");
  };
  add("--leases-per-second", change->leases_per_second,
      "How fast it may lease slabs; 0: any number");
  add("--leases-burst", change->leases_burst, "How many at once");
  AddSize(set, "--bytes-per-second", &raw->bytes_per_second,
          "How fast it may lease bytes; 0: any number");
  AddSize(set, "--bytes-burst", &raw->bytes_burst, "How many at once");
  add("--rpcs-per-second", change->rpcs_per_second,
      "How fast its sessions may call; 0: any number");
  add("--rpcs-burst", change->rpcs_burst, "How many at once");
}

void AddQuotaSet(CLI::App* quota, CommandLine* line, Raw* raw) {
  CLI::App* const set = AddCommand(
      quota, "set",
      "Change a tenant's quota, at once; what is not given stays as it is. "
      "Nothing is taken back: a tenant above its limit gets no new leases "
      "until "
      "its use has fallen. A limit of 0 refuses all",
      "  vrampool quota set root/team-a 40GiB\n"
      "  vrampool quota set root/team-a --guarantee 20GiB --limit 40GiB\n"
      "  vrampool quota set root/batch --priority -10 --weight 2\n"
      "  vrampool quota set root/batch --lend-unused true\n"
      "  vrampool quota set root/batch --leases-per-second 10\n",
      RunQuotaSet, line);
  QuotaChange* const change = &line->options.quota_change;
  set->add_option("tenant", line->options.quota_tenant, "The tenant's path")
      ->required()
      ->type_name("PATH");
  CLI::Option* const bare =
      AddSize(set, "limit", &raw->limit, "The same as --limit");
  AddSize(set, "--limit", &raw->limit_option, "The most that it may use")
      ->excludes(bare);
  AddSize(set, "--guarantee", &raw->guarantee, "What it can always get");
  set->add_option("--priority", change->priority,
                  "Higher waits shorter: -1000 to 1000")
      ->type_name("N");
  set->add_option("--weight", change->weight,
                  "Its share among those of its priority: 1 to 1000")
      ->type_name("N");
  set->add_option("--lend-unused", change->lend_unused,
                  "Others may use what of its guarantee is not in use")
      ->type_name("true|false");
  set->add_option("--unreclaimable-burst", change->unreclaimable_burst,
                  "It may go beyond its guarantee in CUDA_IPC memory")
      ->type_name("true|false");
  set->add_option("--evict", change->evict,
                  "While it bursts, its processes may be killed for others")
      ->type_name("true|false");
  AddRates(set, change, raw);
  set->callback([line, raw] {
    const std::string sizes = raw->limit + raw->limit_option + raw->guarantee +
                              raw->bytes_per_second + raw->bytes_burst;
    if (sizes.empty() && line->options.quota_change == QuotaChange()) {
      throw CLI::RequiredError("A limit or another part of the quota");
    }
    line->command = RunQuotaSet;
  });
}

void AddQuota(CLI::App* app, CommandLine* line, Raw* raw) {
  CLI::App* const quota =
      AddCommand(app, "quota", "Read or change a tenant's quota",
                 "  vrampool quota get root/team-a\n"
                 "  vrampool quota set root/team-a 40GiB\n",
                 nullptr, line);
  quota->require_subcommand(0, 1);
  CLI::App* const get = AddCommand(
      quota, "get", "Print a tenant's quota and use",
      "  vrampool quota get root/team-a --json\n", RunQuotaGet, line);
  get->add_option("tenant", line->options.quota_tenant, "The tenant's path")
      ->required()
      ->type_name("PATH");
  AddQuotaSet(quota, line, raw);
}

void AddSnapshot(CLI::App* app, CommandLine* line, Raw* raw) {
  Options* const options = &line->options;
  CLI::App* const snapshot =
      AddCommand(app, "snapshot", "Keep the whole state, and compare two",
                 "  vrampool snapshot save before.json\n"
                 "  vrampool snapshot diff before.json after.json\n",
                 nullptr, line);
  snapshot->require_subcommand(0, 1);
  CLI::App* const save = AddCommand(
      snapshot, "save",
      "Write all tenants, sessions, leases, objects and blocks to a file, as "
      "JSON; what a bound leaves out is said on stderr and in the file",
      "  vrampool snapshot save before.json\n"
      "  vrampool snapshot save - --max-blocks 100000 | gzip > now.json.gz\n",
      RunSnapshotSave, line);
  save->add_option("file", options->file, "The file; - for stdout")
      ->required()
      ->type_name("FILE");
  save->add_option("--max-blocks", options->snapshot_blocks,
                   "Blocks listed of each session, the largest first; sums by "
                   "tag and call site have all")
      ->type_name("N")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  CLI::App* const diff = AddCommand(
      snapshot, "diff",
      "What grew, came, shrank and went between two snapshots. Exits with 8 "
      "when something grew or is new, else 0. Needs no daemon",
      "  vrampool snapshot diff before.json after.json\n"
      "  vrampool snapshot diff a.json b.json --min-growth 64MiB --json\n",
      RunSnapshotDiff, line);
  diff->add_option("before", options->file, "The earlier one")
      ->required()
      ->type_name("FILE");
  diff->add_option("after", options->other_file, "The later one")
      ->required()
      ->type_name("FILE");
  diff->add_option("--min-growth", raw->min_growth,
                   "Leave out changes of less than this size")
      ->type_name("SIZE")
      ->check(CheckSize);
  AddSort(diff, options);
  AddTenant(diff, options);
}

void AddWatch(CLI::App* app, CommandLine* line) {
  Options* const options = &line->options;
  CLI::App* const sub = AddCommand(
      app, "watch",
      "Print what happens, a line for each event, until interrupted: sessions, "
      "leases, refusals, objects, limits, reclaims, alerts of tenants, the "
      "device's health. With --json: one object on each line",
      "  vrampool watch --tenant root/team-a\n"
      "  vrampool watch --kind lease-refused --kind session-ended --json\n",
      RunWatch, line);
  AddTenant(sub, options);
  std::string names;
  for (const std::string& name : EventKindNames()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  sub->add_option("--kind", options->event_kinds,
                  "Only this kind, or these: " + names)
      ->type_name("KIND")
      ->check([names](const std::string& text) {
        return ParseEventKind(text).has_value()
                   ? std::string()
                   : "\"" + text + "\" is none of " + names;
      });
  sub->add_option("--count", options->event_count, "End after so many events")
      ->type_name("N");
}

void AddRest(CLI::App* app, CommandLine* line) {
  AddCommand(app, "status",
             "The pool by state; of every device when none is chosen. With "
             "--json: one object per device",
             "  vrampool status\n"
             "  vrampool status --device gpu0 --json\n",
             RunStatus, line);
  AddCommand(app, "doctor",
             "Check the installation and the daemon; says what to do about "
             "each problem",
             "  vrampool doctor\n"
             "  vrampool doctor --device gpu0 --json\n",
             RunDoctor, line);
  AddCommand(app, "reload",
             "Have the daemon read its configuration again, and say what is "
             "otherwise now. Wrong or unchangeable keys change nothing",
             "  vrampool reload\n", RunReload, line);
  AddCommand(app, "health", "Exit with 0 if the daemon serves, for HEALTHCHECK",
             "  vrampool health --device gpu0\n", RunHealth, line);
  AddCommand(app, "version", "Versions of this program and of the daemons",
             "  vrampool version\n", RunVersion, line);
}

void AddCommon(CLI::App* app, Options* options, bool* hide_header) {
  app->add_option("--directory", options->directory,
                  "Directory of the daemons' sockets (VRAMPOOL_DIR)")
      ->type_name("DIR")
      ->capture_default_str();
  app->add_option("--device", options->device,
                  "The device: its UUID or its link's name")
      ->type_name("DEVICE");
  app->add_flag("--json", options->is_json, "Print JSON");
  app->add_flag("--no-header", *hide_header, "Print tables without headings");
}

}  // namespace

std::variant<CommandLine, ExitCode> ParseCommandLine(
    const std::vector<std::string>& arguments,
    const std::string& default_directory, std::ostream& out,
    std::ostream& err) {
  CommandLine line;
  line.options.directory = default_directory;
  Raw raw;
  bool hide_header = false;
  CLI::App app("vrampool: who uses the memory pool of this machine's devices",
               "vrampool");
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  app.fallthrough();  // --json and the like also after the command.
  AddCommon(&app, &line.options, &hide_header);
  AddRest(&app, &line);
  AddLists(&app, &line, &raw);
  AddLeaks(&app, &line, &raw);
  AddQuota(&app, &line, &raw);
  AddSnapshot(&app, &line, &raw);
  AddWatch(&app, &line);
  try {
    // CLI11 takes the arguments from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? ExitCode::kOk : ExitCode::kUsage;
  }
  // Checked here and not by CLI11, which would name no mistyped command.
  if (line.command == nullptr) {
    err << "A command is required\nRun with --help for more information.\n";
    return ExitCode::kUsage;
  }
  line.options.header = hide_header ? Header::kHidden : Header::kShown;
  // All texts have passed their checks.
  if (!raw.min_age.empty()) line.options.min_age = *ParseAge(raw.min_age);
  QuotaChange& change = line.options.quota_change;
  if (!raw.limit.empty()) change.limit = ParseBytes(raw.limit);
  if (!raw.limit_option.empty()) change.limit = ParseBytes(raw.limit_option);
  if (!raw.guarantee.empty()) change.guarantee = ParseBytes(raw.guarantee);
  if (!raw.bytes_per_second.empty()) {
    change.bytes_per_second = ParseBytes(raw.bytes_per_second);
  }
  if (!raw.bytes_burst.empty()) {
    change.bytes_burst = ParseBytes(raw.bytes_burst);
  }
  if (!raw.min_growth.empty()) {
    line.options.min_growth = *ParseBytes(raw.min_growth);
  }
  return line;
}

}  // namespace vrampool::cli
