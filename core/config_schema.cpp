#include "core/config_schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/parse_number.h"

namespace saber {
namespace {

using nlohmann::json;

json::json_pointer pointer_of(const std::string& key) {
  std::string path = "/" + key;
  std::replace(path.begin(), path.end(), '.', '/');
  return json::json_pointer(path);
}

// Number of single-character edits between two keys, to suggest the nearest one.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

std::string range_rule(const std::string& min, const std::string& max, bool open_above) {
  return open_above ? "at least " + min : "from " + min + " to " + max;
}

}  // namespace

void Schema::add(Field field) {
  ensure(find(field.key) == nullptr, "a setting is declared once");
  fields_.push_back(std::move(field));
}

Schema::Field* Schema::find(const std::string& key) {
  const auto it = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.key == key; });
  return it == fields_.end() ? nullptr : &*it;
}

void Schema::integer(std::int64_t& target, std::string key, std::int64_t initial, std::int64_t min, std::int64_t max,
                     std::string unit, std::string help, OnResume on_resume) {
  target = initial;
  const std::string rule = range_rule(std::to_string(min), std::to_string(max), max == kAny);
  add({std::move(key), "integer", std::move(unit), rule, std::move(help), std::to_string(initial), on_resume,
       [&target, min, max, rule](const std::string& text) -> std::string {
         std::int64_t value = 0;
         if (!parse_number(text, value)) return "an integer";
         if (value < min || value > max) return "an integer " + rule;
         target = value;
         return {};
       },
       nullptr, [&target] { return json(target); }, [&target](const json& v) { target = v.get<std::int64_t>(); }});
}

void Schema::real(double& target, std::string key, double initial, double min, double max, std::string unit,
                  std::string help, OnResume on_resume) {
  target = initial;
  const std::string rule = range_rule(fmt::format("{}", min), fmt::format("{}", max), std::isinf(max));
  add({std::move(key), "number", std::move(unit), rule, std::move(help), fmt::format("{}", initial), on_resume,
       [&target, min, max, rule](const std::string& text) -> std::string {
         double value = 0;
         if (!parse_number(text, value) || !std::isfinite(value)) return "a number";
         if (value < min || value > max) return "a number " + rule;
         target = value;
         return {};
       },
       nullptr, [&target] { return json(target); }, [&target](const json& v) { target = v.get<double>(); }});
}

void Schema::flag(bool& target, std::string key, bool initial, std::string help, OnResume on_resume) {
  target = initial;
  add({std::move(key), "flag", "", "true or false", std::move(help), initial ? "true" : "false", on_resume,
       [&target](const std::string& text) -> std::string {
         if (text != "true" && text != "false") return "true or false";
         target = text == "true";
         return {};
       },
       nullptr, [&target] { return json(target); }, [&target](const json& v) { target = v.get<bool>(); }});
}

void Schema::text(std::string& target, std::string key, std::string initial, std::string help, OnResume on_resume) {
  target = initial;
  add({std::move(key), "text", "", "", std::move(help), std::move(initial), on_resume,
       [&target](const std::string& text) -> std::string {
         target = text;
         return {};
       },
       nullptr, [&target] { return json(target); }, [&target](const json& v) { target = v.get<std::string>(); }});
}

void Schema::choice(std::string& target, std::string key, std::string initial, std::vector<std::string> options,
                    std::string help, OnResume on_resume) {
  target = initial;
  const std::string rule = fmt::format("one of {}", fmt::join(options, ", "));
  add({std::move(key), "choice", "", rule, std::move(help), std::move(initial), on_resume,
       [&target, options, rule](const std::string& text) -> std::string {
         const bool known = std::find(options.begin(), options.end(), text) != options.end();
         if (known) target = text;
         return known ? std::string() : rule;
       },
       nullptr, [&target] { return json(target); }, [&target](const json& v) { target = v.get<std::string>(); }});
}

void Schema::texts(std::vector<std::string>& target, std::string key, std::vector<std::string> initial,
                   std::string help, OnResume on_resume, std::string rule,
                   std::function<bool(const std::string&)> fits) {
  target = initial;
  add({std::move(key), "list of texts", "", std::move(rule), std::move(help),
       fmt::format("[{}]", fmt::join(initial, ", ")), on_resume,
       [](const std::string&) -> std::string { return "a list"; },
       [&target, fits = std::move(fits)](std::vector<std::string> texts) -> std::string {
         const auto bad = fits ? std::find_if_not(texts.begin(), texts.end(), fits) : texts.end();
         if (bad != texts.end()) return *bad;
         target = std::move(texts);
         return {};
       },
       [&target] { return json(target); }, [&target](const json& v) { target = v.get<std::vector<std::string>>(); }});
}

void Schema::renamed(std::string old_key, std::string key) {
  ensure(find(old_key) == nullptr && find(key) != nullptr, "an old key is replaced by one that is declared");
  renamed_[std::move(old_key)] = std::move(key);
}

void Schema::unknown_key(const std::string& key, const std::string& place) const {
  const auto now = renamed_.find(key);
  if (now != renamed_.end()) throw_bad_input(fmt::format("setting '{}' is now '{}'", key, now->second), place);
  const Field* nearest = nullptr;
  for (const Field& field : fields_) {
    if (nearest == nullptr || edit_distance(key, field.key) < edit_distance(key, nearest->key)) nearest = &field;
  }
  throw_bad_input(fmt::format("unknown setting '{}'", key), place,
                  nearest ? fmt::format("did you mean '{}'? --help lists all settings", nearest->key) : "");
}

void Schema::set_scalar(const std::string& key, const std::string& text, const std::string& place) {
  Field* const field = find(key);
  if (field == nullptr) unknown_key(key, place);
  const std::string wanted = field->parse(text);
  if (!wanted.empty()) throw_bad_input(fmt::format("{} is '{}', wanted {}", key, text, wanted), place);
}

void Schema::set_list(const std::string& key, std::vector<std::string> texts, const std::string& place) {
  Field* const field = find(key);
  if (field == nullptr) unknown_key(key, place);
  if (!field->parse_list) {
    throw_bad_input(fmt::format("{} is a list, wanted {}", key, field->rule.empty() ? field->type : field->rule),
                    place);
  }
  const std::string misfit = field->parse_list(std::move(texts));
  if (!misfit.empty()) throw_bad_input(fmt::format("{} holds '{}', wanted {}", key, misfit, field->rule), place);
}

void Schema::assign(const std::string& key_equals_value) {
  const std::string place = "--set " + key_equals_value;
  const std::size_t equals = key_equals_value.find('=');
  if (equals == std::string::npos) throw_bad_input("has no '=', wanted key=value", place);
  const std::string key = key_equals_value.substr(0, equals);
  const std::string value = key_equals_value.substr(equals + 1);
  const Field* const field = find(key);
  if (field == nullptr) unknown_key(key, place);
  if (!field->parse_list) return set_scalar(key, value, place);
  std::vector<std::string> parts;
  for (std::size_t start = 0; start < value.size();) {
    const std::size_t comma = std::min(value.find(',', start), value.size());
    parts.push_back(value.substr(start, comma - start));
    start = comma + 1;
  }
  set_list(key, std::move(parts), place);
}

std::vector<std::string> Schema::keys() const {
  std::vector<std::string> out;
  for (const Field& field : fields_) out.push_back(field.key);
  return out;
}

std::string Schema::help(const std::vector<std::string>& reads) const {
  std::string out;
  for (const Field& field : fields_) {
    const bool is_read = std::any_of(reads.begin(), reads.end(), [&](const std::string& name) {
      return name.ends_with('.') ? field.key.starts_with(name) : field.key == name;
    });
    if (!reads.empty() && !is_read) continue;
    out += fmt::format("  {}: {}", field.key, field.initial.empty() ? "\"\"" : field.initial);
    if (!field.unit.empty()) out += " " + field.unit;
    out += fmt::format("  [{}{}{}]{}\n      {}\n", field.type, field.rule.empty() ? "" : ", ", field.rule,
                       field.on_resume == OnResume::must_match ? " fixed for a run" : "", field.help);
  }
  return out;
}

json Schema::values() const {
  json out = json::object();
  for (const Field& field : fields_) out[pointer_of(field.key)] = field.value();
  return out;
}

void Schema::restore(const json& values) {
  for (const Field& field : fields_) {
    const json::json_pointer where = pointer_of(field.key);
    if (!values.contains(where)) continue;
    try {
      field.restore(values.at(where));
    } catch (const json::exception&) {
      throw_bad_input(
          fmt::format("{} is {}, wanted a value of type {}", field.key, values.at(where).dump(), field.type),
          "stored settings");
    }
  }
}

void Schema::require_match(const json& stored, const std::string& stored_place) const {
  std::string differences;
  for (const Field& field : fields_) {
    if (field.on_resume != OnResume::must_match) continue;
    const json::json_pointer where = pointer_of(field.key);
    const json before = stored.contains(where) ? stored.at(where) : json("(not stored)");
    if (before == field.value()) continue;
    differences += fmt::format("{}{} is {}, was {}", differences.empty() ? "" : "; ", field.key, field.value().dump(),
                               before.dump());
  }
  if (differences.empty()) return;
  throw_bad_input("the run was started with other settings: " + differences, stored_place,
                  "restore the settings, or start a new run.dir");
}

}  // namespace saber
