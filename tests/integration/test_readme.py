# SPDX-License-Identifier: Apache-2.0
"""What the pages for newcomers say works as it stands there."""

import re

from django_site import DjangoSite
from httpd_server import basic
from stage import TOP


def blocks(page, language):
    return re.findall(r"^```%s\n(.*?)^```$" % language, (TOP / page).read_text(), re.M | re.S)


def test_minimal_httpd_conf(httpd):
    """README's httpd.conf, on the database and secret key of a real site, with nothing else said about mod_sse but file paths."""
    site = DjangoSite(httpd, "db")
    site.prepare()
    conf = blocks("README.md", "apache")[0]
    conf = conf.replace("/usr/lib/apache2/modules/mod_sse.so", str(httpd.stage.module))
    conf = conf.replace("/srv/site/db.sqlite3", "{dir}/db/site.sqlite3").replace("/etc/apache2/django-secret.key", "{dir}/session.keys")
    httpd.configure(server=site.wsgi(), locations=conf, without=["sse"]).start()
    session = site.log_in("bob")
    key = (httpd.state / "admin.key").read_text().strip()
    admin = httpd.admin()
    admin.key = key
    with httpd.stream("/events/", headers={"Cookie": "sessionid=" + session}) as s:
        s.opened()
        site.shell("Events.publish('event:name', {'any': 'JSON'}, users=[User.objects.get(username='bob')])")
        s.expect("event:name")
        admin.publish("by:http", 1, users=[site.ids["bob"]])
        s.expect("by:http")
    assert httpd.fetch("/events/").status == 403


def test_python_of_the_readme(httpd):
    site = DjangoSite(httpd, "db").start()
    code = blocks("README.md", "python")[1].split("\n", 1)[1]
    with httpd.stream(headers={"Cookie": "sessionid=" + site.log_in("alice")}) as s:
        s.opened()
        out = site.shell("user = User.objects.get(username='alice')\nadmins = Group.objects.get(name='editors')\n" + code.strip().replace("user.is_online(), ", "print(user.is_online(), ") + ")")
        assert "True" in out and "alice" in out
        s.expect("event:name", '{"any":"JSON"}')
        s.expect("event:name", "{}")
        s.expect("to:everyone", '{"data":"set"}')


def test_shipped_configuration_is_good(httpd):
    """conf/mod_sse.conf as it is, read after a configuration of its own."""
    httpd.configure()
    base = httpd.conf.read_text()
    shipped = (TOP / "conf" / "mod_sse.conf").read_text()
    httpd.conf.write_text(base + re.sub(r"^LoadModule sse_module.*$", "", shipped, flags=re.M))
    status, said = httpd.configtest()
    assert status == 0, said


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_of_the_pages():
    """No page points to a file or heading that is not there."""
    for page in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
            if "://" not in target:
                file = page.parent / target if target else page
                assert file.exists(), "%s: %s" % (page.relative_to(TOP), target)
                assert not anchor or anchor in anchors(file), "%s: %s#%s" % (page.relative_to(TOP), target, anchor)


def test_without_django(httpd):
    """README: users are those of httpd's own authentication."""
    httpd.add_users("u")
    conf = blocks("README.md", "apache")[0]
    conf = re.sub(r"^(LoadModule|DBD|    SSE).*\n", "", conf, flags=re.M)
    conf = conf.replace(
        "SetHandler sse-stream", 'SetHandler sse-stream\n    AuthType Basic\n    AuthName x\n    AuthUserFile "{dir}/users"\n    Require valid-user'
    )
    httpd.configure(locations=conf).start()
    admin = httpd.admin()
    admin.key = (httpd.state / "admin.key").read_text().strip()
    with httpd.stream("/events/", headers=basic("u")) as s:
        s.opened()
        admin.publish("to:u", 1, users=["u"])
        s.expect("to:u")
